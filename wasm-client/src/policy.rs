//! Whether a request may be sent again, and when. Nothing here knows JavaScript.
//!
//! | request | is repeated after |
//! | --- | --- |
//! | reads, revokes or gets a token | a 503 or a lost answer |
//! | any | a 429 |
//! | could do its work twice | a 503 of ours, if that says `safe_to_retry` |
//!
//! A request is sent three times at most, or as often as the client says; never sooner than `Retry-After`, and not
//! again if that is more than 20 s. Every other failure may have reached the tool.

use deputize_api::{error::code, reason::Reason};

/// The longest wait in seconds. If the service asks for more, the request fails at once, and the error says
/// how long to wait.
const LONGEST_WAIT: f64 = 20.0;
/// The wait in seconds if the service asks for none. Doubled each time.
const FIRST_WAIT: f64 = 0.25;

/// What sending a request twice could do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// No more than sending it once: it reads, gets a token, or revokes.
    Harmless,
    /// It would do its work twice: calling a tool, toggling, creating.
    OnlyIfUndone,
}

/// Why a request has no successful answer.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Failed<'a> {
    /// There was no answer. It is not known whether the request arrived.
    NoAnswer,
    Answered {
        status: u16,
        error: &'a str,
        /// The service's own statement.
        safe_to_retry: Option<bool>,
        /// In seconds.
        retry_after: Option<f64>,
    },
}

/// Whether a request may be sent again.
pub(crate) fn may_repeat(repeat: Repeat, failed: Failed<'_>) -> bool {
    match failed {
        Failed::NoAnswer => repeat == Repeat::Harmless,
        Failed::Answered { status, error, safe_to_retry, .. } => match status {
            // Refused because of a rate, before any part of it was done (RFC 6585 section 4).
            429 => true,
            // The service's own 503 says whether anything was done. Another party's 503 proves nothing.
            503 if error == code::TEMPORARILY_UNAVAILABLE && safe_to_retry == Some(true) => true,
            503 => repeat == Repeat::Harmless,
            _ => false,
        },
    }
}

/// How many seconds to wait before the next attempt; `None` for no more attempts. `sent` is the number of
/// attempts so far, `retries` the most repetitions. `jitter` is from 0 to 1, and spreads clients that were refused at
/// the same time.
pub(crate) fn wait(repeat: Repeat, failed: Failed<'_>, sent: u32, retries: u32, jitter: f64) -> Option<f64> {
    if sent > retries || !may_repeat(repeat, failed) {
        return None;
    }
    let backoff = FIRST_WAIT * f64::from(1_u32 << sent.saturating_sub(1).min(8));
    let asked = match failed {
        Failed::Answered { retry_after: Some(asked), .. } => asked.max(0.0),
        _ => 0.0,
    };
    if asked > LONGEST_WAIT {
        return None;
    }
    // Never sooner than the service asks for.
    Some(asked.max(backoff * 0.5) + backoff * jitter)
}

/// Whether another token may help. A bad token is refused before any part of the request is done.
pub(crate) fn is_token_refused(status: u16, error: &str) -> bool {
    status == 401 && error == code::INVALID_TOKEN
}

/// Whether a token exchange failed for the agent's token, and not for the user's (RFC 8693 section 2.2.2).
pub(crate) fn is_subject_refused(reason: Option<&str>) -> bool {
    reason == Some(Reason::SubjectTokenRefused.as_str())
}

/// The seconds of a `Retry-After` (RFC 9110 section 10.2.3), which is a number or a date.
pub(crate) fn retry_after(header: &str, now: f64, parse_date: impl Fn(&str) -> Option<f64>) -> Option<f64> {
    let header = header.trim();
    if !header.is_empty() && header.bytes().all(|byte| byte.is_ascii_digit()) {
        // More than the largest number is as good as that.
        return Some(f64::from(header.parse::<u32>().unwrap_or(u32::MAX)));
    }
    Some(((parse_date(header)? - now) / 1000.0).ceil().max(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNDONE: Failed<'_> = ours(Some(true), None);

    const fn ours(safe_to_retry: Option<bool>, retry_after: Option<f64>) -> Failed<'static> {
        Failed::Answered { status: 503, error: "temporarily_unavailable", safe_to_retry, retry_after }
    }

    const fn bare(status: u16) -> Failed<'static> {
        Failed::Answered { status, error: "", safe_to_retry: None, retry_after: None }
    }

    #[test]
    fn what_may_have_reached_a_tool_is_not_sent_again() {
        let doubtful = [
            Failed::NoAnswer,
            bare(500),
            bare(502),
            bare(503),
            bare(504),
            ours(Some(false), Some(1.0)),
            ours(None, Some(1.0)),
            Failed::Answered { status: 503, error: "other", safe_to_retry: Some(true), retry_after: None },
            Failed::Answered {
                status: 502,
                error: "upstream_error",
                safe_to_retry: Some(true),
                retry_after: None,
            },
        ];
        for failed in doubtful {
            assert_eq!(wait(Repeat::OnlyIfUndone, failed, 1, 2, 0.5), None, "{failed:?}");
        }
    }

    #[test]
    fn what_was_refused_unread_is_sent_again() {
        for failed in [bare(429), UNDONE] {
            assert!(wait(Repeat::OnlyIfUndone, failed, 1, 2, 0.5).is_some(), "{failed:?}");
        }
        for failed in [Failed::NoAnswer, bare(503), bare(429), ours(Some(false), None)] {
            assert!(wait(Repeat::Harmless, failed, 1, 2, 0.5).is_some(), "{failed:?}");
        }
        assert_eq!(wait(Repeat::Harmless, bare(500), 1, 2, 0.5), None);
    }

    #[test]
    fn a_request_is_repeated_as_often_as_it_may_be() {
        assert!(wait(Repeat::Harmless, UNDONE, 2, 2, 0.0).is_some());
        assert_eq!(wait(Repeat::Harmless, UNDONE, 3, 2, 0.0), None);
        assert_eq!(wait(Repeat::Harmless, UNDONE, 1, 0, 0.0), None);
    }

    #[test]
    fn nobody_comes_back_sooner_than_asked_or_waits_for_long() {
        for jitter in [0.0, 0.5, 1.0] {
            let wait = wait(Repeat::Harmless, ours(Some(true), Some(2.0)), 1, 2, jitter).unwrap();
            assert!((2.0..=2.5).contains(&wait), "{wait}");
        }
        assert_eq!(wait(Repeat::Harmless, ours(Some(true), Some(21.0)), 1, 2, 0.0), None);
    }

    #[test]
    fn retry_after_is_a_number_of_seconds_or_a_date() {
        let read = |header| retry_after(header, 1_000.0, |_| Some(3_500.0));
        assert_eq!(read("7"), Some(7.0));
        assert_eq!(read("Sun, 06 Nov 1994 08:49:37 GMT"), Some(3.0));
        assert_eq!(retry_after("soon", 0.0, |_| None), None);
        assert_eq!(retry_after("-1", 0.0, |_| None), None);
        assert_eq!(retry_after(&"9".repeat(400), 0.0, |_| None), Some(f64::from(u32::MAX)));
        assert_eq!(retry_after("4294967296", 0.0, |_| None), Some(f64::from(u32::MAX)));
    }
}
