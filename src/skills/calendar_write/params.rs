//! The params of `calendar_write`, their schema, and the event they describe.

use jiff::{Timestamp, civil::Date};
use serde_json::{Value, json};

use super::{Limit, recurrence};
use crate::{
    problem::FieldError,
    skills::params::{self, Field, Reader, Stage},
};

/// Of the title and the place, in bytes.
const MAX_LINE_BYTES: usize = 500;
const MAX_DESCRIPTION_BYTES: usize = 8 * 1024;
const MAX_RECURRENCE_BYTES: usize = 500;
const MAX_TIME_ZONE_BYTES: usize = 64;
const MAX_ATTENDEES: usize = 100;
/// The longest address (RFC 5321 section 4.5.3.1.3, without the angle brackets), and of it the part before the @.
const MAX_ADDRESS_BYTES: usize = 254;
const MAX_LOCAL_BYTES: usize = 64;
/// Years that calendars can show.
const YEARS: std::ops::RangeInclusive<i16> = 1900..=9999;

/// An event as the params describe it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) title: String,
    pub(super) span: Span,
    pub(super) time_zone: Option<String>,
    pub(super) attendees: Vec<String>,
    /// A rule of RFC 5545, in upper case.
    pub(super) recurrence: Option<String>,
    pub(super) description: Option<String>,
    pub(super) location: Option<String>,
}

/// When an event is. The end is no part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Span {
    /// From one moment to another, to the second.
    Times(Timestamp, Timestamp),
    /// Whole days, wherever one is.
    Days(Date, Date),
}

/// One end of a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    Time(Timestamp),
    Day(Date),
}

/// Reads params. `Ok(None)`: nothing is wrong and a reference leaves something open.
///
/// # Errors
/// Every bad field.
pub(super) fn read(params: &Value, stage: Stage) -> Result<Option<Event>, Vec<FieldError>> {
    let mut reader = Reader::new(params, stage);
    let title = line(&mut reader, "title");
    reader.require("title", &title);
    if title == Field::Is("") {
        reader.refuse("/title", params::INVALID_VALUE, "a title has at least one character");
    }
    let start = moment(&mut reader, "start");
    let end = moment(&mut reader, "end");
    let span = span(&mut reader, start, end);
    let time_zone = time_zone(&mut reader);
    let attendees = attendees(&mut reader);
    let recurrence = rule(&mut reader, &start);
    let description = reader.string("description", MAX_DESCRIPTION_BYTES);
    if let Field::Is(text) = description
        && text
            .chars()
            .any(|char| char.is_control() && !matches!(char, '\n' | '\r' | '\t'))
    {
        let detail = "a description has no control characters but tabs and line ends";
        reader.refuse("/description", params::INVALID_VALUE, detail);
    }
    let location = line(&mut reader, "location");
    reader.finish()?;

    let text = |field: Field<&str>| match field {
        Field::Is(text) => Some(Some(text.to_owned())),
        Field::Absent => Some(None),
        Field::Open => None,
    };
    let whole = || {
        Some(Event {
            title: title.known()?.to_owned(),
            span: span?,
            time_zone: text(time_zone)?,
            attendees: attendees?,
            recurrence: match recurrence {
                Field::Is(rule) => Some(rule),
                Field::Absent => None,
                Field::Open => return None,
            },
            description: text(description)?,
            location: text(location)?,
        })
    };
    Ok(whole())
}

/// A text of one line.
fn line<'a>(reader: &mut Reader<'a>, name: &'static str) -> Field<&'a str> {
    let text = reader.string(name, MAX_LINE_BYTES);
    if let Field::Is(text) = text
        && text.chars().any(char::is_control)
    {
        let detail = format!("{name} is one line, without control characters");
        reader.refuse(format!("/{name}"), params::INVALID_VALUE, detail);
    }
    text
}

fn moment(reader: &mut Reader<'_>, name: &'static str) -> Field<Moment> {
    let text = reader.string(name, 64);
    reader.require(name, &text);
    match text {
        Field::Is(text) => match parse_moment(text) {
            Some(moment) => Field::Is(moment),
            None => {
                let detail = format!(
                    "{name} is a time with its offset such as 2026-03-02T09:00:00+01:00, or a day such as 2026-03-02; \
                     from {} on",
                    YEARS.start()
                );
                reader.refuse(format!("/{name}"), params::INVALID_VALUE, detail);
                Field::Open
            }
        },
        Field::Absent => Field::Absent,
        Field::Open => Field::Open,
    }
}

/// RFC 3339, to the letter: parsers of times forgive much that calendars would read differently.
fn parse_moment(text: &str) -> Option<Moment> {
    let day = text.get(..10)?;
    has_form(day, "0000-00-00").then_some(())?;
    let date: Date = day.parse().ok()?;
    if !YEARS.contains(&date.year()) {
        return None;
    }
    let Some(time) = text.get(10..).filter(|rest| !rest.is_empty()) else {
        return Some(Moment::Day(date));
    };
    has_form(time.get(..9)?, "T00:00:00").then_some(())?;
    let rest = time.get(9..)?;
    let offset = match rest.strip_prefix('.') {
        None => rest,
        Some(fraction) => {
            let offset = fraction.trim_start_matches(|char: char| char.is_ascii_digit());
            let digits = fraction.len().checked_sub(offset.len())?;
            (1..=9).contains(&digits).then_some(offset)?
        }
    };
    let is_offset = offset == "Z" || has_form(offset, "+00:00") || has_form(offset, "-00:00");
    is_offset.then_some(())?;
    let moment: Timestamp = text.parse().ok()?;
    // What an iCalendar file can say: whole seconds.
    Timestamp::from_second(moment.as_second()).ok().map(Moment::Time)
}

/// Whether a text has digits where the form has `0`, and else the form's own characters.
fn has_form(text: &str, form: &str) -> bool {
    text.len() == form.len()
        && text.bytes().zip(form.bytes()).all(|(byte, form)| {
            if form == b'0' {
                byte.is_ascii_digit()
            } else {
                byte == form
            }
        })
}

fn span(reader: &mut Reader<'_>, start: Field<Moment>, end: Field<Moment>) -> Option<Span> {
    let span = match (start.known()?, end.known()?) {
        (Moment::Time(start), Moment::Time(end)) if start < end => Span::Times(start, end),
        (Moment::Day(start), Moment::Day(end)) if start < end => Span::Days(start, end),
        (Moment::Time(_), Moment::Time(_)) => {
            reader.refuse("/end", params::INVALID_VALUE, "end is after start");
            return None;
        }
        (Moment::Day(_), Moment::Day(_)) => {
            let detail = "end is the day after the last one, and so after start";
            reader.refuse("/end", params::INVALID_VALUE, detail);
            return None;
        }
        _ => {
            let detail = "start and end are both times or both days";
            reader.refuse("/end", params::CONFLICTING_FIELDS, detail);
            return None;
        }
    };
    Some(span)
}

fn time_zone<'a>(reader: &mut Reader<'a>) -> Field<&'a str> {
    let name = reader.string("time_zone", MAX_TIME_ZONE_BYTES);
    let is_part = |part: &str| {
        part.starts_with(|first: char| first.is_ascii_alphabetic())
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'+' | b'-'))
    };
    if let Field::Is(name) = name
        && !name.split('/').all(is_part)
    {
        let detail = "time_zone is a name of the IANA database such as Europe/Berlin";
        reader.refuse("/time_zone", params::INVALID_VALUE, detail);
    }
    name
}

/// The addresses; `None` where a reference leaves one open.
fn attendees(reader: &mut Reader<'_>) -> Option<Vec<String>> {
    let items = match reader.array("attendees", MAX_ATTENDEES) {
        Field::Absent => return Some(Vec::new()),
        Field::Open => return None,
        Field::Is(items) => items,
    };
    let mut attendees = Vec::new();
    let mut is_open = false;
    for (place, item) in items.iter().enumerate() {
        let pointer = format!("/attendees/{place}");
        match item.as_str() {
            None => reader.refuse(pointer, params::WRONG_TYPE, "an attendee is an address as a string"),
            Some(text) if reader.is_template(text) => is_open = true,
            Some(address) if is_address(address) => attendees.push(address.to_owned()),
            Some(_) => reader.refuse(
                pointer,
                params::INVALID_VALUE,
                "an attendee is an address such as ada@example.com",
            ),
        }
    }
    (!is_open).then_some(attendees)
}

/// A plain address (RFC 5321, without quoted parts and literals): what no header or property can be broken with.
fn is_address(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else {
        return false;
    };
    let is_atom = |atom: &str| {
        !atom.is_empty()
            && atom
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte))
    };
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    text.len() <= MAX_ADDRESS_BYTES
        && local.len() <= MAX_LOCAL_BYTES
        && local.split('.').all(is_atom)
        && domain.contains('.')
        && domain.split('.').all(is_label)
}

fn rule(reader: &mut Reader<'_>, start: &Field<Moment>) -> Field<String> {
    let text = match reader.string("recurrence", MAX_RECURRENCE_BYTES) {
        Field::Absent => return Field::Absent,
        Field::Open => return Field::Open,
        Field::Is(text) => text,
    };
    let of_days = match start {
        Field::Is(Moment::Day(_)) => Some(true),
        Field::Is(Moment::Time(_)) => Some(false),
        Field::Absent | Field::Open => None,
    };
    match recurrence::read(text, of_days) {
        Ok(rule) => Field::Is(rule),
        Err(detail) => {
            reader.refuse("/recurrence", params::INVALID_VALUE, detail);
            Field::Open
        }
    }
}

/// The limits of the contract.
pub(super) fn limits() -> Vec<Limit> {
    Limit::list([
        ("title", MAX_LINE_BYTES, "bytes"),
        ("description", MAX_DESCRIPTION_BYTES, "bytes"),
        ("location", MAX_LINE_BYTES, "bytes"),
        ("recurrence", MAX_RECURRENCE_BYTES, "bytes"),
        ("attendees", MAX_ATTENDEES, "items"),
    ])
}

/// The JSON Schema of the params.
pub(super) fn schema() -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["title", "start", "end"],
        "properties": {
            "title": {"type": "string", "minLength": 1, "maxLength": MAX_LINE_BYTES},
            "start": {
                "type": "string",
                "description": "A time with its offset (RFC 3339, 2026-03-02T09:00:00+01:00), or a day (2026-03-02) for an \
                                event of whole days. Written in UTC."
            },
            "end": {
                "type": "string",
                "description": "The same kind as start, and after it: the first moment or day that is no part of the event."
            },
            "time_zone": {
                "type": "string", "maxLength": MAX_TIME_ZONE_BYTES,
                "description": "A name of the IANA database, such as Europe/Berlin, in which calendars show the event \
                                (X-WR-TIMEZONE). It moves nothing: start and end say when it is."
            },
            "attendees": {
                "type": "array", "maxItems": MAX_ATTENDEES,
                "items": {"type": "string", "format": "email", "maxLength": MAX_ADDRESS_BYTES},
                "description": "Addresses. They are listed in the event; nobody is written to."
            },
            "recurrence": {
                "type": "string", "maxLength": MAX_RECURRENCE_BYTES,
                "description": "A rule of RFC 5545 without its name, such as FREQ=WEEKLY;BYDAY=MO;COUNT=10. Times recur in \
                                UTC, so that daylight saving moves them by an hour on the clock, and BYDAY means days in UTC."
            },
            "description": {"type": "string", "maxLength": MAX_DESCRIPTION_BYTES},
            "location": {"type": "string", "maxLength": MAX_LINE_BYTES}
        }
    })
}
