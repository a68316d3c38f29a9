//! Which names are one to a reader that ignores case. Our readers do not, but MCP servers' may: Go's `encoding/json`
//! does unless it is told otherwise, and .NET's and Java's readers can be told to.
//!
//! Two names are one if they differ only in what some reader ignores: upper and lower case, the rules of Turkish,
//! width, composition, characters that show nothing.

use std::borrow::Cow;

use unicode_normalization::UnicodeNormalization;

/// Folds a name. If any reader that ignores case takes two names for the same, both fold to the same.
///
/// It merges more names than any single reader does. One may compare upper case, another lower case, in full
/// (`straße`, `STRASSE`) or letter by letter (the Kelvin sign and `k`), by the rules of Turkish (`I`, `ı`,
/// `İ`, `i`), in any form of composition or width, and without invisible characters.
pub fn folded(name: &str) -> Cow<'_, str> {
    if name.is_ascii() {
        let is_folded = !name.bytes().any(|byte| byte.is_ascii_uppercase());
        return if is_folded { name.into() } else { name.to_ascii_lowercase().into() };
    }
    let mut folded = String::with_capacity(name.len());
    // The standard library's mappings, to lower case and then to upper case: some letters have only one of
    // them.
    let letters = name.nfkd().filter(|letter| !is_invisible(*letter));
    let letters = letters.flat_map(char::to_lowercase).flat_map(char::to_uppercase);
    for letter in letters.flat_map(char::to_lowercase) {
        // The lower case of `İ` is an `i` and a dot above.
        if letter != '\u{307}' || !folded.ends_with('i') {
            folded.push(letter);
        }
    }
    folded.into()
}

/// Unicode's `Default_Ignorable_Code_Point`, and characters that were meant to become such.
pub(crate) fn is_invisible(letter: char) -> bool {
    matches!(letter,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff0}'..='\u{fff8}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_a_reader_may_take_for_one_fold_to_one() {
        for (one, other) in [
            ("org", "Org"),
            ("ORG", "oRg"),
            ("repo.name", "Repo.Name"),
            ("list", "li\u{17f}t"),       // the long s, to Go
            ("key", "\u{212a}ey"),        // the Kelvin sign, to Go and by simple folding
            ("straße", "STRASSE"),        // full folding
            ("straße", "STRAẞE"),         // and the capital sharp s
            ("id", "\u{130}d"),           // İ and ı, by the rules of Turkish
            ("id", "\u{131}d"),           //
            ("id", "\u{131}D"),           //
            ("ὀδυσσεύς", "ὈΔΥΣΣΕΎΣ"),     // the final sigma
            ("é", "E\u{301}"),            // composed or not
            ("org", "ｏｒｇ"),            // of full width
            ("org", "o\u{200b}r\u{ad}g"), // with what shows nothing
        ] {
            assert_eq!(folded(one), folded(other), "{one} {other}");
        }
    }

    #[test]
    fn other_names_do_not_fold_to_one() {
        for (one, other) in [("org", "orgs"), ("org_id", "orgid"), ("e", "é"), ("z", "ż"), ("कम", "किम")]
        {
            assert_ne!(folded(one), folded(other), "{one} {other}");
        }
    }

    #[test]
    fn every_letter_folds_as_its_upper_and_lower_case_do() {
        for letter in char::MIN..=char::MAX {
            let text = |letters: &mut dyn Iterator<Item = char>| letters.collect::<String>();
            let (upper, lower) = (text(&mut letter.to_uppercase()), text(&mut letter.to_lowercase()));
            let letter = letter.to_string();
            if upper != letter || lower != letter {
                let fold = folded(&letter);
                assert_eq!(fold, folded(&upper), "{letter}");
                assert_eq!(fold, folded(&lower), "{letter}");
                assert_eq!(fold, folded(&fold), "{letter}");
            }
        }
    }
}
