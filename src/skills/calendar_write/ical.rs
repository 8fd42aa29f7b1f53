//! Writes an event as iCalendar (RFC 5545). Must never let a text end its line: whatever an event says stays inside the
//! property that says it.
//!
//! Times are in UTC, so that the file needs no definition of a time zone (VTIMEZONE) and means the same everywhere.

use jiff::{Timestamp, civil::Date};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::params::{Event, Span};

/// The longest line, in bytes, without its end (section 3.1).
const LINE_BYTES: usize = 75;
/// What stands in an address of `mailto:` as it is (RFC 6068 section 2).
const IN_MAILTO: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'+')
    .remove(b'!')
    .remove(b'$')
    .remove(b'\'')
    .remove(b'*')
    .remove(b'@');

/// The file of one event.
pub(super) fn write(event: &Event, uid: &str, now: Timestamp) -> String {
    let mut file = Lines::default();
    file.put("BEGIN", "VCALENDAR");
    file.put("VERSION", "2.0");
    file.put("PRODID", "-//AOS//calendar_write 1//EN");
    file.put("CALSCALE", "GREGORIAN");
    if let Some(time_zone) = &event.time_zone {
        file.put("X-WR-TIMEZONE", time_zone);
    }
    file.put("BEGIN", "VEVENT");
    file.put("UID", uid);
    file.put("DTSTAMP", &utc(now));
    match event.span {
        Span::Times(start, end) => {
            file.put("DTSTART", &utc(start));
            file.put("DTEND", &utc(end));
        }
        Span::Days(start, end) => {
            file.put("DTSTART;VALUE=DATE", &day(start));
            file.put("DTEND;VALUE=DATE", &day(end));
        }
    }
    if let Some(rule) = &event.recurrence {
        file.put("RRULE", rule);
    }
    file.put("SUMMARY", &text(&event.title));
    if let Some(description) = &event.description {
        file.put("DESCRIPTION", &text(description));
    }
    if let Some(location) = &event.location {
        file.put("LOCATION", &text(location));
    }
    for attendee in &event.attendees {
        file.put(
            "ATTENDEE",
            &format!("mailto:{}", utf8_percent_encode(attendee, IN_MAILTO)),
        );
    }
    file.put("END", "VEVENT");
    file.put("END", "VCALENDAR");
    file.0
}

/// Content lines, folded.
#[derive(Default)]
struct Lines(String);

impl Lines {
    /// Adds a property. A line that is too long goes on in the next one, behind a space, and never inside a character.
    fn put(&mut self, name: &str, value: &str) {
        let mut length = 0_usize;
        for char in name.chars().chain([':']).chain(value.chars()) {
            if length.saturating_add(char.len_utf8()) > LINE_BYTES {
                self.0.push_str("\r\n ");
                length = 1;
            }
            self.0.push(char);
            length = length.saturating_add(char.len_utf8());
        }
        self.0.push_str("\r\n");
    }
}

/// A value of the type TEXT (section 3.3.11).
fn text(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '\\' | ';' | ',' => escaped.extend(['\\', char]),
            '\n' => escaped.push_str("\\n"),
            // With a line feed behind it, it is one end of a line.
            '\r' if chars.peek() == Some(&'\n') => {}
            '\r' => escaped.push_str("\\n"),
            char if char.is_control() && char != '\t' => {}
            char => escaped.push(char),
        }
    }
    escaped
}

fn utc(time: Timestamp) -> String {
    // RFC 3339 without its punctuation and its fraction.
    let text: String = time
        .to_string()
        .chars()
        .filter(|char| !matches!(char, '-' | ':'))
        .collect();
    let whole = text.split(['.', 'Z']).next().unwrap_or_default();
    format!("{whole}Z")
}

fn day(date: Date) -> String {
    date.to_string().replace('-', "")
}
