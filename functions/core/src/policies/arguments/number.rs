//! What a JSON number is, however it is written.

/// A number, judged by its own digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Number {
    /// `11`, and also `11.0`, `1.1e1` and `110e-1`.
    Integer(i64),
    /// In its shortest form: no exponent, no zeros at the end.
    Fraction(String),
    /// An integer beyond 64 bits, or a fraction with more digits than a floating-point number holds. What a
    /// server makes of it is not known.
    Beyond,
}

/// More digits than a 64-bit integer has, and more than a 64-bit floating-point number can distinguish.
const MAX_DIGITS: usize = 19;

impl Number {
    /// Reads a JSON number.
    pub(super) fn of(text: &str) -> Self {
        if let Ok(integer) = text.parse() {
            return Self::Integer(integer);
        }
        match Decimal::of(text) {
            Some(decimal) => decimal.integer().map_or_else(|| decimal.fraction(text), Self::Integer),
            None => Self::Beyond,
        }
    }

    /// An integer as readers see it that know only 64-bit floating-point numbers, such as JavaScript.
    pub(super) fn rounded(integer: i64) -> Self {
        let float = integer.to_string().parse::<f64>().unwrap_or(f64::NAN);
        Self::of(&float.to_string())
    }
}

/// `digits` times ten to the power of `scale`. The digits have no zeros at either end; zero has no digits.
#[derive(PartialEq, Eq)]
struct Decimal {
    is_negative: bool,
    digits: String,
    scale: i64,
}

impl Decimal {
    /// `None` if there are too many digits, or the exponent is out of range.
    fn of(text: &str) -> Option<Self> {
        let (is_negative, text) = text.strip_prefix('-').map_or((false, text), |text| (true, text));
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
        // The two zeros of `100` belong to the scale; those of `0.001` are not digits.
        let kept = if fraction.is_empty() { whole.trim_end_matches('0') } else { whole };
        let digits = if kept.is_empty() { fraction.trim_start_matches('0') } else { fraction };
        if kept.is_empty() && digits.is_empty() {
            return Some(Self { is_negative: false, digits: String::new(), scale: 0 });
        }
        if kept.len() + digits.len() > MAX_DIGITS {
            return None;
        }
        let zeros = i64::try_from(whole.len() - kept.len()).ok()?;
        let places = i64::try_from(fraction.len()).ok()?;
        let scale = exponent.parse::<i64>().ok()?.checked_add(zeros)?.checked_sub(places)?;
        Some(Self { is_negative, digits: format!("{kept}{digits}"), scale })
    }

    fn integer(&self) -> Option<i64> {
        let zeros = usize::try_from(self.scale).ok()?;
        if self.digits.is_empty() {
            return Some(0);
        }
        if zeros > MAX_DIGITS {
            return None;
        }
        let sign = if self.is_negative { "-" } else { "" };
        format!("{sign}{}{}", self.digits, "0".repeat(zeros)).parse().ok()
    }

    /// A fraction of which readers of decimals and of floating-point numbers see the same, else `Beyond`.
    fn fraction(&self, text: &str) -> Number {
        if self.scale >= 0 {
            return Number::Beyond;
        }
        let shortest = text.parse::<f64>().map(|float| float.to_string()).unwrap_or_default();
        match Self::of(&shortest) {
            Some(same) if same == *self => Number::Fraction(shortest),
            _ => Number::Beyond,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_integer_is_one_however_it_is_written() {
        for (integer, written) in [
            (11, &["11", "11.0", "11.000", "1.1e1", "1.1E+1", "110e-1", "0.11e2", "11000e-3", "11e0"][..]),
            (1_000, &["1000", "1e3", "1E03", "1000.0", "0.001e6"]),
            (0, &["0", "-0", "-0.0", "0.0", "0e0", "0e99999999999999999999", "-0E-7"]),
            (-11, &["-11", "-11.0", "-1.1e1"]),
            (i64::MAX, &["9223372036854775807", "9223372036854775807.0", "9.223372036854775807e18"]),
            (i64::MIN, &["-9223372036854775808", "-9223372036854775808.0", "-922337203685477580.8e1"]),
            (9_007_199_254_740_993, &["9007199254740993", "9007199254740993.0"]),
            (1_000_000_000_000_000_000, &["1e18", "1000000000000000000.00"]),
        ] {
            for text in written {
                assert_eq!(Number::of(text), Number::Integer(integer), "{text}");
            }
        }
    }

    #[test]
    fn a_fraction_has_one_text() {
        for (shortest, written) in [
            ("1.5", &["1.5", "1.50", "15e-1", "0.15E1"][..]),
            ("-0.001", &["-0.001", "-1e-3", "-0.0010"]),
            ("0.1", &["0.1", "1e-1"]),
            ("0.0000001", &["1e-7", "0.0000001"]),
            ("123456789.25", &["123456789.25", "1.2345678925e8"]),
        ] {
            for text in written {
                assert_eq!(Number::of(text), Number::Fraction(shortest.to_owned()), "{text}");
            }
        }
    }

    #[test]
    fn a_number_of_which_readers_make_different_things_is_none() {
        let long = format!("1{}", "0".repeat(400_000));
        for text in [
            "9223372036854775808",
            "18446744073709551615",
            "-9223372036854775809",
            "1e19",
            "1e400",
            "-1e400",
            "1e-400",
            "1e99999999999999999999",
            "0.1000000000000000000001",
            "9007199254740992.5",
            "0.30000000000000001",
            &long,
        ] {
            assert_eq!(Number::of(text), Number::Beyond, "{text}");
        }
    }

    #[test]
    fn a_reader_of_floating_point_numbers_sees_some_integers_as_others() {
        assert_eq!(Number::rounded(9_007_199_254_740_993), Number::Integer(9_007_199_254_740_992));
        assert_eq!(Number::rounded(-9_007_199_254_740_993), Number::Integer(-9_007_199_254_740_992));
        assert_eq!(Number::rounded(9_007_199_254_740_992), Number::Integer(9_007_199_254_740_992));
        assert_eq!(Number::rounded(i64::MAX), Number::Beyond);
        assert_eq!(Number::rounded(0), Number::Integer(0));
        assert_eq!(Number::rounded(-11), Number::Integer(-11));
    }
}
