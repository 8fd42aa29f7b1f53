//! The skill against an archive in memory.

use std::sync::{Arc, atomic::Ordering};

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::{
    archive::Archive,
    integrations::calendar::{self, ArchivedCalendars, MAX_FILE_BYTES},
    links::Links,
    skills::testing::{self, Bucket, IDEMPOTENCY_KEY, Scene},
};

fn skill() -> CalendarWrite {
    CalendarWrite
}

/// The file of an event with these fields beside or in place of the usual ones; null takes one away.
fn file(changes: Value) -> String {
    let event = params::read(&event(changes), Stage::Resolved).unwrap().unwrap();
    ical::write(&event, "uid@aos", Timestamp::from_second(1_700_000_000).unwrap())
}

fn event(changes: Value) -> Value {
    let mut params = json!({
        "title": "Review", "start": "2026-03-02T09:00:00+01:00", "end": "2026-03-02T09:30:00+01:00"
    });
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            params.as_object_mut().unwrap().remove(name);
        } else {
            params[name] = value.clone();
        }
    }
    params
}

/// The properties of a file, unfolded.
fn properties(file: &str) -> Vec<(String, String)> {
    file.replace("\r\n ", "")
        .split_terminator("\r\n")
        .map(|line| line.split_once(':').unwrap())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn property(file: &str, name: &str) -> Option<String> {
    properties(file)
        .into_iter()
        .find(|(found, _)| found == name)
        .map(|(_, value)| value)
}

fn problems(changes: Value) -> Vec<(String, String)> {
    match skill().check(&event(changes)) {
        Ok(()) => Vec::new(),
        Err(errors) => errors
            .into_iter()
            .map(|error| (error.pointer, error.code.into_owned()))
            .collect(),
    }
}

#[test]
fn a_whole_event_is_written_as_the_rfc_has_it() {
    let written = file(json!({
        "time_zone": "Europe/Berlin",
        "attendees": ["ada@example.com", "o'hara+x&y@example.com"],
        "recurrence": "freq=weekly;byday=mo;count=10",
        "description": "One,\ntwo; three\\",
        "location": "Room 1"
    }));
    let expected = [
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        "PRODID:-//AOS//calendar_write 1//EN",
        "CALSCALE:GREGORIAN",
        "X-WR-TIMEZONE:Europe/Berlin",
        "BEGIN:VEVENT",
        "UID:uid@aos",
        "DTSTAMP:20231114T221320Z",
        "DTSTART:20260302T080000Z",
        "DTEND:20260302T083000Z",
        "RRULE:FREQ=WEEKLY;BYDAY=MO;COUNT=10",
        "SUMMARY:Review",
        r"DESCRIPTION:One\,\ntwo\; three\\",
        "LOCATION:Room 1",
        "ATTENDEE:mailto:ada@example.com",
        "ATTENDEE:mailto:o'hara+x%26y@example.com",
        "END:VEVENT",
        "END:VCALENDAR",
        "",
    ];
    assert_eq!(written, expected.join("\r\n"));
}

#[test]
fn times_are_written_in_utc_and_days_as_days() {
    for (start, end, start_utc, end_utc) in [
        (
            "2026-03-02T09:00:00Z",
            "2026-03-02T10:00:00Z",
            "20260302T090000Z",
            "20260302T100000Z",
        ),
        (
            "2026-03-02T01:00:00+05:30",
            "2026-03-02T01:00:01+05:30",
            "20260301T193000Z",
            "20260301T193001Z",
        ),
        (
            "2026-12-31T23:30:00-08:00",
            "2027-01-01T00:30:00-08:00",
            "20270101T073000Z",
            "20270101T083000Z",
        ),
        ("2026-03-02T09:00:00.999Z", "2026-03-02T10:00:00.5+01:00", "", ""),
    ] {
        if start_utc.is_empty() {
            assert_eq!(
                problems(json!({"start": start, "end": end})),
                [("/end".into(), "invalid_value".into())]
            );
            continue;
        }
        let written = file(json!({"start": start, "end": end}));
        assert_eq!(property(&written, "DTSTART").as_deref(), Some(start_utc));
        assert_eq!(property(&written, "DTEND").as_deref(), Some(end_utc));
    }
    let days = file(json!({"start": "2028-02-29", "end": "2028-03-01"}));
    assert_eq!(property(&days, "DTSTART;VALUE=DATE").as_deref(), Some("20280229"));
    assert_eq!(property(&days, "DTEND;VALUE=DATE").as_deref(), Some("20280301"));
}

#[test]
fn lines_are_folded_at_75_bytes_and_never_inside_a_character() {
    for title in [
        "x".repeat(500),
        "ü".repeat(250),
        "€".repeat(166),
        "👍".repeat(125),
        "ab,;\\".repeat(100),
    ] {
        let written = file(json!({"title": title}));
        for line in written.split_terminator("\r\n") {
            assert!(line.len() <= 75, "{} bytes: {line}", line.len());
            assert!(!line.contains(['\r', '\n']));
        }
        let unescaped = property(&written, "SUMMARY").unwrap();
        let expected = title.replace('\\', r"\\").replace(',', r"\,").replace(';', r"\;");
        assert_eq!(unescaped, expected);
    }
    // 75 bytes fit, the 76th does not.
    let edge = file(json!({"title": "x".repeat(67)}));
    assert!(edge.contains(&format!("SUMMARY:{}\r\nEND", "x".repeat(67))), "{edge}");
    let over = file(json!({"title": "x".repeat(68)}));
    assert!(
        over.contains(&format!("SUMMARY:{}\r\n x\r\nEND", "x".repeat(67))),
        "{over}"
    );
}

proptest! {
    #[test]
    fn no_text_adds_a_property(title in "\\PC{1,60}", description in "(\\PC|\n|\r|\t){0,200}", location in "\\PC{0,40}") {
        let changes = json!({"title": title, "description": description, "location": location});
        if skill().check(&event(changes.clone())).is_ok() {
            let written = file(changes);
            let names: Vec<_> = properties(&written).into_iter().map(|(name, _)| name).collect();
            prop_assert_eq!(names, [
                "BEGIN", "VERSION", "PRODID", "CALSCALE", "BEGIN", "UID", "DTSTAMP", "DTSTART", "DTEND", "SUMMARY",
                "DESCRIPTION", "LOCATION", "END", "END",
            ]);
            prop_assert!(written.split_terminator("\r\n").all(|line| line.len() <= 75));
            prop_assert!(!written.replace("\r\n", "").contains(['\r', '\n']));
        }
    }

    #[test]
    fn any_rule_is_judged_without_a_panic(text in "\\PC{0,60}", of_days in any::<Option<bool>>()) {
        let _ = recurrence::read(&text, of_days);
        if let Ok(rule) = recurrence::read(&format!("FREQ=DAILY;{text}"), of_days) {
            prop_assert!(!rule.contains(['\r', '\n', ':']));
        }
    }
}

#[test]
fn recurrence_rules_are_read_as_strictly_as_the_rfc_has_them() {
    for rule in [
        "FREQ=DAILY",
        "FREQ=DAILY;INTERVAL=2;COUNT=9999",
        "FREQ=WEEKLY;UNTIL=20261231T235959Z;WKST=SU;BYDAY=TU,TH",
        "FREQ=MONTHLY;BYDAY=-1FR,2MO,+1SU",
        "FREQ=MONTHLY;BYMONTHDAY=-1,15",
        "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1",
        "FREQ=YEARLY;BYMONTH=1,12;BYDAY=SU;BYHOUR=8,9;BYMINUTE=30;BYSECOND=0",
        "FREQ=YEARLY;BYYEARDAY=1,-366",
        "FREQ=YEARLY;BYWEEKNO=20;BYDAY=MO",
        "FREQ=HOURLY;INTERVAL=3",
        "byday=mo;freq=weekly",
    ] {
        assert_eq!(problems(json!({"recurrence": rule})), [], "{rule}");
    }
    for rule in [
        "",
        "DAILY",
        "RRULE:FREQ=DAILY",
        "COUNT=3",
        "FREQ=FORTNIGHTLY",
        "FREQ=DAILY;",
        "FREQ=DAILY;FREQ=DAILY",
        "FREQ=DAILY;COUNT=0",
        "FREQ=DAILY;COUNT=-1",
        "FREQ=DAILY;COUNT=10000",
        "FREQ=DAILY;COUNT=1;UNTIL=20261231T000000Z",
        "FREQ=DAILY;UNTIL=20261231",
        "FREQ=DAILY;UNTIL=20261231T000000",
        "FREQ=DAILY;UNTIL=20261331T000000Z",
        "FREQ=DAILY;UNTIL=20260229T000000Z",
        "FREQ=DAILY;UNTIL=20261231T240000Z",
        "FREQ=DAILY;INTERVAL=",
        "FREQ=DAILY;BYDAY=XX",
        "FREQ=DAILY;BYDAY=0MO",
        "FREQ=WEEKLY;BYDAY=2MO",
        "FREQ=MONTHLY;BYDAY=54MO",
        "FREQ=YEARLY;BYWEEKNO=1;BYDAY=1MO",
        "FREQ=MONTHLY;BYWEEKNO=1",
        "FREQ=MONTHLY;BYYEARDAY=1",
        "FREQ=WEEKLY;BYMONTHDAY=1",
        "FREQ=MONTHLY;BYMONTHDAY=32",
        "FREQ=MONTHLY;BYMONTHDAY=0",
        "FREQ=MONTHLY;BYSETPOS=1",
        "FREQ=YEARLY;BYMONTH=13",
        "FREQ=YEARLY;BYMONTH=1,",
        "FREQ=DAILY;BYHOUR=24",
        "FREQ=DAILY;X-NAME=1",
        "FREQ=DAILY\r\nATTENDEE:mailto:x",
        "FREQ=DAILY;COUNT=1\n",
        "FREQ=DÄILY",
    ] {
        assert_eq!(
            problems(json!({"recurrence": rule})),
            [("/recurrence".into(), "invalid_value".into())],
            "{rule:?}"
        );
    }
    let days =
        |rule: &str| problems(json!({"start": "2026-03-02", "end": "2026-03-03", "recurrence": rule})).is_empty();
    assert!(days("FREQ=WEEKLY;UNTIL=20261231"));
    assert!(!days("FREQ=WEEKLY;UNTIL=20261231T000000Z"));
    assert!(!days("FREQ=DAILY;BYHOUR=9"));
    assert!(!days("FREQ=HOURLY"));
}

#[test]
fn bad_params_are_refused_at_their_place() {
    let many: Vec<_> = (0..101).map(|number| format!("a{number}@example.com")).collect();
    for (changes, pointer, expected) in [
        (json!({"title": null}), "/title", "required"),
        (json!({"title": ""}), "/title", "invalid_value"),
        (json!({"title": "a\r\nATTENDEE:mailto:x"}), "/title", "invalid_value"),
        (json!({"title": "x".repeat(501)}), "/title", "too_long"),
        (json!({"start": null}), "/start", "required"),
        (json!({"end": null}), "/end", "required"),
        (json!({"start": "tomorrow"}), "/start", "invalid_value"),
        (json!({"start": "2026-03-02T09:00:00"}), "/start", "invalid_value"),
        (json!({"start": "2026-03-02 09:00:00Z"}), "/start", "invalid_value"),
        (json!({"start": "2026-03-02T09:00Z"}), "/start", "invalid_value"),
        (json!({"start": "2026-03-02T09:00:00+01"}), "/start", "invalid_value"),
        (json!({"start": "2026-03-02T09:00:00.Z"}), "/start", "invalid_value"),
        (
            json!({"start": "2026-03-02T09:00:00+01:00[Europe/Berlin]"}),
            "/start",
            "invalid_value",
        ),
        (json!({"start": "2026-02-30T09:00:00Z"}), "/start", "invalid_value"),
        (json!({"start": "2026-03-02T25:00:00Z"}), "/start", "invalid_value"),
        (json!({"start": "1899-12-31"}), "/start", "invalid_value"),
        (json!({"start": "€€€€"}), "/start", "invalid_value"),
        (json!({"end": "2026-03-02T09:00:00+01:00"}), "/end", "invalid_value"),
        (json!({"end": "2026-03-03"}), "/end", "conflicting_fields"),
        (
            json!({"start": "2026-03-02", "end": "2026-03-02"}),
            "/end",
            "invalid_value",
        ),
        (
            json!({"time_zone": "Europe/Berlin\r\nX:1"}),
            "/time_zone",
            "invalid_value",
        ),
        (json!({"time_zone": "+01:00"}), "/time_zone", "invalid_value"),
        (json!({"time_zone": "Europe/"}), "/time_zone", "invalid_value"),
        (json!({"attendees": many}), "/attendees", "too_many"),
        (json!({"attendees": [1]}), "/attendees/0", "wrong_type"),
        (
            json!({"attendees": ["ada@example.com", "ada"]}),
            "/attendees/1",
            "invalid_value",
        ),
        (json!({"attendees": ["ada@localhost"]}), "/attendees/0", "invalid_value"),
        (
            json!({"attendees": ["Ada <ada@example.com>"]}),
            "/attendees/0",
            "invalid_value",
        ),
        (
            json!({"attendees": ["a\r\nb@example.com"]}),
            "/attendees/0",
            "invalid_value",
        ),
        (
            json!({"attendees": ["\"a b\"@example.com"]}),
            "/attendees/0",
            "invalid_value",
        ),
        (
            json!({"attendees": [".a@example.com"]}),
            "/attendees/0",
            "invalid_value",
        ),
        (
            json!({"attendees": ["a@-example.com"]}),
            "/attendees/0",
            "invalid_value",
        ),
        (json!({"description": "a\u{0}b"}), "/description", "invalid_value"),
        (json!({"location": "a\nb"}), "/location", "invalid_value"),
        (json!({"organizer": "a@example.com"}), "/organizer", "unknown_field"),
    ] {
        assert_eq!(
            problems(changes.clone()),
            [(pointer.to_owned(), expected.to_owned())],
            "{changes}"
        );
    }
    for open in [
        json!({"title": "{{input.a}}"}),
        json!({"start": "{{input.a}}"}),
        json!({"start": "{{input.day}}T09:00:00Z"}),
        json!({"start": "{{input.a}}", "recurrence": "FREQ=DAILY;UNTIL=20261231"}),
        json!({"attendees": ["{{input.a}}@example.com"]}),
        json!({"attendees": "{{input.a}}"}),
        json!({"recurrence": "FREQ={{input.a}}"}),
        json!({"time_zone": "{{input.a}}"}),
    ] {
        assert_eq!(problems(open.clone()), [], "{open}");
    }
}

/// A scene whose calendar is an archive in this bucket.
fn scene(bucket: &Arc<Bucket>) -> Scene {
    let mut scene = Scene::default();
    let links = Links::new(&"a-secret".into(), None, None);
    let archive = Archive::new(Arc::clone(bucket) as Arc<_>, scene.clock());
    scene.calendar = Some(ArchivedCalendars::new(archive, links, scene.clock()));
    scene
}

fn run(scene: &Scene) -> Outcome {
    let outcome = scene.run(&skill(), &event(json!({})));
    testing::assert_listed(&skill(), &outcome);
    outcome
}

fn read(scene: &Scene, link: &str) -> Result<bytes::Bytes, crate::problem::Problem> {
    let (path, query) = link.split_once('?').unwrap();
    let step = path.strip_prefix("/v1/calendar/").unwrap().parse().unwrap();
    let read = calendar::read(scene.calendar.as_ref(), step, Some(query));
    read.now_or_never().unwrap()
}

#[test]
fn the_link_opens_what_was_written_for_a_week() {
    let bucket = Arc::default();
    let scene = scene(&bucket);
    let outcome = run(&scene);
    let output = outcome.output.unwrap();
    assert_eq!(output["uid"], format!("{IDEMPOTENCY_KEY}@aos"));
    // The scene's clock stands at the epoch, and has slept for the archive's patience.
    assert_eq!(output["expires_at"], "1970-01-08T00:00:10Z");
    let link = output["link"].as_str().unwrap();
    let file = read(&scene, link).unwrap();
    assert_eq!(output["bytes"], file.len());
    assert!(file.starts_with(b"BEGIN:VCALENDAR\r\n"));
    assert_eq!((outcome.usage.requests, outcome.effects.len()), (1, 1));
    assert_eq!(outcome.effects[0].idempotency_key, IDEMPOTENCY_KEY);

    assert_eq!(
        run(&scene).output.unwrap()["uid"],
        output["uid"],
        "a repeat is the same event"
    );

    scene.passes(Duration::from_secs(7 * 24 * 60 * 60));
    let problem = read(&scene, link).unwrap_err();
    assert_eq!((problem.status, problem.code.as_ref()), (403, "link_expired"));
    let problem = read(&scene, &link.replace("sig=", "sig=x")).unwrap_err();
    assert_eq!((problem.status, problem.code.as_ref()), (403, "link_invalid"));
    let nowhere = calendar::read(None, IDEMPOTENCY_KEY.parse().unwrap(), None)
        .now_or_never()
        .unwrap();
    assert_eq!(nowhere.unwrap_err().code, "link_invalid");
}

#[test]
fn a_file_that_is_gone_or_an_archive_that_is_away_is_told_by_the_link() {
    let bucket: Arc<Bucket> = Arc::default();
    let output = run(&scene(&bucket)).output.unwrap();
    let link = output["link"].as_str().unwrap();
    assert_eq!(read(&scene(&Arc::default()), link).unwrap_err().code, "not_found");
    bucket.is_away.store(true, Ordering::Relaxed);
    assert_eq!(read(&scene(&bucket), link).unwrap_err().code, "unavailable");
}

#[test]
fn without_archive_or_secret_and_with_the_archive_away_the_outcome_says_so() {
    let code = |outcome: Outcome| outcome.error.unwrap().code;
    assert_eq!(code(run(&Scene::default())), "integration_not_configured");
    let bucket: Arc<Bucket> = Arc::default();
    bucket.is_away.store(true, Ordering::Relaxed);
    let outcome = run(&scene(&bucket));
    assert!(outcome.effects.is_empty());
    assert_eq!(code(outcome), "archive_unreachable");
}

#[test]
fn the_largest_event_is_a_file_that_can_be_read() {
    let local = "&".repeat(60);
    let attendees: Vec<_> = (0..100)
        .map(|n| format!("{local}@{}.example.com", format!("{n:03}").repeat(20)))
        .collect();
    let written = file(json!({
        "title": ",".repeat(500), "description": "\n".repeat(8192), "location": ",".repeat(500), "attendees": attendees
    }));
    assert!(written.len() < MAX_FILE_BYTES, "{}", written.len());
}
