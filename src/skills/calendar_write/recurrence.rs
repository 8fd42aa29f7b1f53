//! Recurrence rules (RFC 5545 section 3.3.10): read as strictly as the RFC has them, because calendars differ in what they
//! make of a rule that is not one. Must never let through a character that could end its line.

use std::ops::RangeInclusive;

use jiff::civil::Date;

const FREQUENCIES: [&str; 7] = ["SECONDLY", "MINUTELY", "HOURLY", "DAILY", "WEEKLY", "MONTHLY", "YEARLY"];
const WEEKDAYS: [&str; 7] = ["MO", "TU", "WE", "TH", "FR", "SA", "SU"];
const PARTS: [&str; 14] = [
    "FREQ",
    "UNTIL",
    "COUNT",
    "INTERVAL",
    "BYSECOND",
    "BYMINUTE",
    "BYHOUR",
    "BYDAY",
    "BYMONTHDAY",
    "BYYEARDAY",
    "BYWEEKNO",
    "BYMONTH",
    "BYSETPOS",
    "WKST",
];
/// Of COUNT and INTERVAL: more than any calendar shows.
const MOST: u32 = 9_999;

/// The parts of a rule, each once.
struct Rule<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Rule<'a> {
    fn get(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find(|(part, _)| *part == name).map(|(_, value)| *value)
    }

    fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }
}

/// The rule in upper case, in which its parts stand as they were given. `of_days`: whether it is for whole days, if that
/// is known.
///
/// # Errors
/// What is wrong with it, for a person.
pub(super) fn read(text: &str, of_days: Option<bool>) -> Result<String, String> {
    let upper = text.to_ascii_uppercase();
    let mut rule = Rule(Vec::new());
    for part in upper.split(';') {
        let (name, value) = part
            .split_once('=')
            .ok_or("recurrence is parts such as FREQ=WEEKLY;COUNT=10")?;
        if !PARTS.contains(&name) {
            return Err(format!("recurrence has parts {}, and no other", PARTS.join(", ")));
        }
        if rule.has(name) {
            return Err(format!("{name} stands in the recurrence twice"));
        }
        if !is_value(name, value) {
            return Err(format!(
                "the recurrence's {name} has a value that RFC 5545 does not know"
            ));
        }
        rule.0.push((name, value));
    }
    check_together(&rule, of_days)?;
    Ok(upper)
}

fn is_value(name: &str, value: &str) -> bool {
    let all = |is_one: &dyn Fn(&str) -> bool| value.split(',').all(is_one);
    match name {
        "FREQ" => FREQUENCIES.contains(&value),
        "UNTIL" => until(value).is_some(),
        "COUNT" | "INTERVAL" => is_number(value, 1..=MOST),
        "BYSECOND" => all(&|second| is_number(second, 0..=60)),
        "BYMINUTE" => all(&|minute| is_number(minute, 0..=59)),
        "BYHOUR" => all(&|hour| is_number(hour, 0..=23)),
        "BYDAY" => all(&|day| weekday(day).is_some()),
        "BYMONTHDAY" => all(&|day| is_signed(day, 31)),
        "BYYEARDAY" | "BYSETPOS" => all(&|day| is_signed(day, 366)),
        "BYWEEKNO" => all(&|week| is_signed(week, 53)),
        "BYMONTH" => all(&|month| is_number(month, 1..=12)),
        "WKST" => WEEKDAYS.contains(&value),
        _ => false,
    }
}

/// What parts must not stand together, and which must not be missing.
fn check_together(rule: &Rule<'_>, of_days: Option<bool>) -> Result<(), String> {
    let Some(frequency) = rule.get("FREQ") else {
        return Err("the recurrence says no FREQ".to_owned());
    };
    if rule.has("COUNT") && rule.has("UNTIL") {
        return Err("the recurrence ends by COUNT or by UNTIL, not by both".to_owned());
    }
    let refused = |name: &str| Err(format!("{name} does not go with FREQ={frequency} in a recurrence"));
    if rule.has("BYWEEKNO") && frequency != "YEARLY" {
        return refused("BYWEEKNO");
    }
    if rule.has("BYYEARDAY") && matches!(frequency, "DAILY" | "WEEKLY" | "MONTHLY") {
        return refused("BYYEARDAY");
    }
    if rule.has("BYMONTHDAY") && frequency == "WEEKLY" {
        return refused("BYMONTHDAY");
    }
    let counts_weekdays = rule
        .get("BYDAY")
        .is_some_and(|days| days.split(',').any(|day| weekday(day) == Some(true)));
    let may_count_weekdays = frequency == "MONTHLY" || (frequency == "YEARLY" && !rule.has("BYWEEKNO"));
    if counts_weekdays && !may_count_weekdays {
        return Err("BYDAY counts days (2MO, -1FR) only in a month, or in a year without BYWEEKNO".to_owned());
    }
    if rule.has("BYSETPOS")
        && !rule
            .0
            .iter()
            .any(|(name, _)| name.starts_with("BY") && *name != "BYSETPOS")
    {
        return Err("BYSETPOS needs another BY… part in the recurrence".to_owned());
    }
    let Some(of_days) = of_days else { return Ok(()) };
    if of_days && ["BYSECOND", "BYMINUTE", "BYHOUR"].iter().any(|name| rule.has(name)) {
        return Err("an event of whole days recurs at no time of the day".to_owned());
    }
    if of_days && matches!(frequency, "SECONDLY" | "MINUTELY" | "HOURLY") {
        return Err("an event of whole days recurs at most daily".to_owned());
    }
    match rule.get("UNTIL").and_then(until) {
        Some(is_day) if is_day != of_days => Err(
            "the recurrence's UNTIL is a day (20260331) for days, a time in UTC (20260331T235959Z) for times"
                .to_owned(),
        ),
        _ => Ok(()),
    }
}

/// Whether the end is a day; `None` if it is neither that nor a time in UTC.
fn until(text: &str) -> Option<bool> {
    let number =
        |from: usize, to: usize| -> Option<i16> { text.get(from..to).filter(|part| is_digits(part))?.parse().ok() };
    let of_two = |from: usize, to: usize| i8::try_from(number(from, to)?).ok();
    Date::new(number(0, 4)?, of_two(4, 6)?, of_two(6, 8)?).ok()?;
    if text.len() == 8 {
        return Some(true);
    }
    let is_time = text.len() == 16
        && text.get(8..9) == Some("T")
        && text.ends_with('Z')
        && number(9, 11)? <= 23
        && number(11, 13)? <= 59
        && number(13, 15)? <= 60;
    is_time.then_some(false)
}

/// Whether a weekday is counted (`2MO`); `None` if it is none.
fn weekday(text: &str) -> Option<bool> {
    let count = text.get(..text.len().checked_sub(2)?)?;
    let day = text.get(count.len()..)?;
    if !WEEKDAYS.contains(&day) {
        return None;
    }
    if count.is_empty() {
        return Some(false);
    }
    is_signed(count, 53).then_some(true)
}

/// From 1 to `most`, before or after the sign.
fn is_signed(text: &str, most: u32) -> bool {
    is_number(text.strip_prefix(['+', '-']).unwrap_or(text), 1..=most)
}

fn is_number(text: &str, range: RangeInclusive<u32>) -> bool {
    is_digits(text) && text.len() <= 4 && text.parse().is_ok_and(|number| range.contains(&number))
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}
