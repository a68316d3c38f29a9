//! Times as people read them: near ones by how far they are away, others by their date. All are in UTC, and the foot of
//! each page says so. The whole time is in the element's `datetime`.

use std::time::Duration;

use deputize_core::clock::Timestamp;
use maud::{Markup, html};

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);
pub const DAY: Duration = Duration::from_hours(24);

/// The parts of a time, as it is written in RFC 3339.
struct Parts {
    text: String,
}

impl Parts {
    fn of(at: Timestamp) -> Self {
        Self { text: at.to_string() }
    }

    /// `2026-11-28`
    fn date(&self) -> &str {
        self.text.get(..10).unwrap_or(&self.text)
    }

    /// `16:40`
    fn time(&self) -> &str {
        self.text.get(11..16).unwrap_or_default()
    }

    fn year(&self) -> &str {
        self.text.get(..4).unwrap_or_default()
    }

    /// `28 Nov`
    fn day(&self) -> String {
        let part = |range: std::ops::Range<usize>| self.text.get(range).unwrap_or_default();
        let month = part(5..7).parse::<usize>().ok().and_then(|month| MONTHS.get(month.checked_sub(1)?));
        format!("{} {}", part(8..10).trim_start_matches('0'), month.unwrap_or(&""))
    }
}

/// A day, such as 28 Nov 2027.
pub fn date(at: Timestamp) -> Markup {
    let parts = Parts::of(at);
    html! { time datetime=(parts.date()) { (parts.day()) " " (parts.year()) } }
}

/// The same, where there can be no element.
pub fn day(at: Timestamp) -> String {
    let parts = Parts::of(at);
    format!("{} {}", parts.day(), parts.year())
}

/// A moment that has been: "26 minutes ago", "25 Nov, 16:40", "25 Nov 2025".
pub fn moment(at: Timestamp, now: Timestamp) -> Markup {
    let parts = Parts::of(at);
    let since = between(at, now);
    let text = if since < MINUTE {
        "just now".to_owned()
    } else if since < HOUR {
        format!("{} ago", counted(since, MINUTE, "minute"))
    } else if since < DAY {
        format!("{} ago", counted(since, HOUR, "hour"))
    } else if parts.year() == Parts::of(now).year() {
        format!("{}, {}", parts.day(), parts.time())
    } else {
        format!("{} {}", parts.day(), parts.year())
    };
    html! { time datetime=(parts.text) { (text) } }
}

/// The whole moment, such as 25 Nov 2026, 16:40:12.
pub fn exact(at: Timestamp) -> Markup {
    let parts = Parts::of(at);
    let time = parts.text.get(11..19).unwrap_or_default();
    html! { time datetime=(parts.text) { (parts.day()) " " (parts.year()) ", " (time) } }
}

/// How long it is until a moment, such as "in 14 days"; "today" on its last day.
pub fn until(at: Timestamp, now: Timestamp) -> String {
    let left = between(now, at);
    if left < DAY { "within a day".to_owned() } else { format!("in {}", counted(left, DAY, "day")) }
}

/// The day on which a moment is, counted from the day of `now`: 0 for the same one, 1 for the day before.
pub fn days_ago(at: Timestamp, now: Timestamp) -> usize {
    let day = |at: Timestamp| at.as_seconds().div_euclid(24 * 60 * 60);
    usize::try_from(day(now) - day(at)).unwrap_or_default()
}

fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::from_millis(u64::try_from(to.as_millis() - from.as_millis()).unwrap_or_default())
}

fn counted(time: Duration, unit: Duration, name: &str) -> String {
    let number = time.as_secs() / unit.as_secs();
    format!("{number} {name}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_time_is_said_as_people_say_it() {
        let now = at("2026-11-28T08:40:00Z");
        let said = |text: &str| {
            let said = moment(at(text), now).into_string();
            said.split(['>', '<']).nth(2).unwrap_or_default().to_owned()
        };
        assert_eq!(said("2026-11-28T08:39:30Z"), "just now");
        assert_eq!(said("2026-11-28T08:39:00Z"), "1 minute ago");
        assert_eq!(said("2026-11-28T08:14:00Z"), "26 minutes ago");
        assert_eq!(said("2026-11-27T20:00:00Z"), "12 hours ago");
        assert_eq!(said("2026-11-05T16:40:00Z"), "5 Nov, 16:40");
        assert_eq!(said("2025-11-25T16:40:00Z"), "25 Nov 2025");
        // Clocks differ.
        assert_eq!(said("2026-11-28T08:41:00Z"), "just now");
        assert_eq!(
            date(at("2026-02-03T00:00:00Z")).into_string(),
            r#"<time datetime="2026-02-03">3 Feb 2026</time>"#
        );
        assert_eq!(until(at("2026-12-12T08:40:00Z"), now), "in 14 days");
        assert_eq!(until(at("2026-11-29T08:39:00Z"), now), "within a day");
        assert_eq!(days_ago(at("2026-11-27T23:59:59Z"), now), 1);
    }
}
