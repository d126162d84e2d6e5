//! Searches in files as they are found on disks.

use super::*;
use serde_json::json;
use std::fs::{self, File, FileTimes};
use std::os::unix::fs::symlink;
use std::time::SystemTime;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

/// The line of a record of `user` at that second.
fn line(user: &str, second: i64) -> String {
    let record = json!({
        "version": "audit.tka.specht-labs.de/v1", "time": at(second), "decision": "signed_out", "outcome": "ended",
        "who": {"user": {"id": 1, "login_name": user}},
    });
    format!("{record}\n")
}

fn question(user: &'static str) -> AuditQuery {
    let is_of = move |record: &Record| matches!(&record.who, Some(tka_api::audit::Who::User { login_name, .. }) if login_name == user);
    AuditQuery {
        means: Box::new(is_of),
        since: None,
        until: None,
        before: None,
        limit: 100,
    }
}

/// The seconds of what is found.
fn seconds(found: &Found) -> Vec<i64> {
    found
        .records
        .iter()
        .map(|record| record.time.as_second() - 1_800_000_000)
        .collect()
}

/// Writes a file that was last written to at that second.
fn write(path: &Path, text: &str, second: i64) {
    fs::write(path, text).unwrap();
    let modified = FileTimes::new().set_modified(SystemTime::from(at(second)));
    File::options()
        .append(true)
        .open(path)
        .unwrap()
        .set_times(modified)
        .unwrap();
}

#[test]
fn records_are_found_newest_first_in_all_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.log");
    write(&path, &(line("a", 50) + &line("b", 51) + &line("a", 52)), 52);
    write(
        &folder.path().join("audit.log.1"),
        &(line("a", 40) + &line("a", 41)),
        41,
    );
    write(&folder.path().join("audit.log-20260102"), &line("a", 20), 20);
    write(&folder.path().join("audit.log.bak"), &line("a", 1), 60);
    let found = search(&path, &question("a")).unwrap();
    assert_eq!(seconds(&found), [52, 50, 41, 40, 20]);
    assert_eq!((found.next, found.reaches, found.no_records), (None, Some(at(20)), 0));
    assert!(found.not_searched.is_empty());
    fs::remove_file(&path).unwrap();
    let found = search(&path, &question("a")).unwrap();
    assert_eq!(
        seconds(&found),
        [41, 40, 20],
        "it was renamed, and nothing was written since"
    );
}

#[test]
fn times_are_from_and_before() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.log");
    let hours = |hours: i64| hours * 3600;
    let text: String = [0, 1, 5, 6, 7].iter().map(|hour| line("a", hours(*hour))).collect();
    write(&path, &("no record\n".to_owned() + &text), hours(7));
    let within = |since: i64, until: i64| {
        let question = AuditQuery {
            since: Some(at(hours(since))),
            until: Some(at(hours(until))),
            ..question("a")
        };
        search(&path, &question).unwrap()
    };
    let found = within(5, 7);
    assert_eq!(seconds(&found), [hours(6), hours(5)]);
    assert_eq!(seconds(&within(0, 1)), [0]);
    assert_eq!(within(0, 1).no_records, 1);
    assert!(seconds(&within(7, 7)).is_empty());
}

#[test]
fn only_many_records_that_are_too_old_end_a_search() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.log");
    let late = at(10 * 3600);
    let question = AuditQuery {
        since: Some(late),
        ..question("a")
    };
    for (too_old, found, no_records) in [(TOO_OLD - 1, 2, 1), (TOO_OLD, 1, 0)] {
        // A clock that was wrong for a while, between two records of the right time.
        let wrong = line("a", 0).repeat(usize::try_from(too_old).unwrap());
        let right = line("a", late.as_second());
        write(&path, &format!("no record\n{right}{wrong}{right}"), late.as_second());
        let answer = search(&path, &question).unwrap();
        assert_eq!(
            (answer.records.len(), answer.no_records),
            (found, no_records),
            "{too_old}"
        );
    }
}

#[test]
fn lines_that_are_no_record_are_counted_and_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.log");
    let more = line("a", 3).replace("\"outcome\"", "\"token\":\"eyJ\",\"outcome\"");
    let half = &line("a", 9)[..40];
    let text = format!(
        "{}\n{half}\n\nnot JSON\n{more}\u{0}\n{}{half}",
        line("a", 1),
        line("a", 2)
    );
    write(&path, &text, 9);
    let found = search(&path, &question("a")).unwrap();
    // The one at the end is still being written.
    assert_eq!((seconds(&found), found.no_records), (vec![2, 1], 4));
}

#[test]
fn pages_lead_on_through_rotation() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.log");
    let text: String = (10..20).map(|second| line("a", second)).collect();
    write(&path, &text, 19);
    write(&folder.path().join("audit.log.1"), &(line("b", 1) + &line("a", 2)), 2);
    let page = |before: Option<LogPosition>| {
        let question = AuditQuery {
            limit: 4,
            before,
            ..question("a")
        };
        search(&path, &question)
    };
    let first = page(None).unwrap();
    assert_eq!(seconds(&first), [19, 18, 17, 16]);
    let place = LogPosition::parse(&first.next.unwrap().to_string());
    // It is rotated in between, and goes on being written.
    fs::rename(folder.path().join("audit.log.1"), folder.path().join("audit.log.2")).unwrap();
    fs::rename(&path, folder.path().join("audit.log.1")).unwrap();
    write(&path, &line("a", 30), 30);
    let second = page(place).unwrap();
    assert_eq!(seconds(&second), [15, 14, 13, 12]);
    let third = page(second.next).unwrap();
    assert_eq!(seconds(&third), [11, 10, 2]);
    assert_eq!(third.next, None);
    fs::remove_file(folder.path().join("audit.log.1")).unwrap();
    assert!(matches!(page(place), Err(SearchError::Moved)));
    let beyond = LogPosition {
        offset: 1 << 40,
        ..first.next.unwrap()
    };
    assert!(matches!(page(Some(beyond)), Err(SearchError::Moved)));
}

#[test]
fn what_is_read_for_one_answer_is_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.log");
    let others: String = (0..2000).map(|second| line("b", 100 + second)).collect();
    write(&path, &(line("a", 1) + &others), 3000);
    let (mut before, mut rounds, mut found) = (None, 0, Vec::new());
    loop {
        let question = AuditQuery {
            before,
            ..question("a")
        };
        let end = Instant::now() + Duration::from_mins(1);
        let page = within(&path, &question, 64 * 1024, end).unwrap();
        found.extend(seconds(&page));
        rounds += 1;
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    assert_eq!(found, [1]);
    assert!((3..10).contains(&rounds), "{rounds}");
    // When the time is over, each still leads on.
    let question = AuditQuery {
        before: None,
        ..question("a")
    };
    let page = within(&path, &question, READ, Instant::now()).unwrap();
    assert!(page.records.is_empty() && page.next.is_some());
}

#[test]
fn files_that_cannot_be_searched_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.log");
    write(&path, &line("a", 50), 50);
    write(&folder.path().join("audit.log.2.gz"), "packed", 30);
    symlink(&path, folder.path().join("audit.log.3")).unwrap();
    fs::create_dir(folder.path().join("audit.log.4")).unwrap();
    let mut found = search(&path, &question("a")).unwrap();
    found.not_searched.sort();
    assert_eq!(found.not_searched, ["audit.log.2.gz", "audit.log.3", "audit.log.4"]);
    assert_eq!(seconds(&found), [50]);
    let late = AuditQuery {
        since: Some(at(30 + 3601)),
        ..question("a")
    };
    let found = search(&path, &late).unwrap();
    assert!(
        !found.not_searched.contains(&"audit.log.2.gz".to_owned()),
        "it ends before"
    );
}

#[test]
fn what_is_no_plain_file_is_not_searched() {
    let folder = tempfile::tempdir().unwrap();
    let device = folder.path().join("audit.log");
    symlink("/dev/zero", &device).unwrap();
    assert!(matches!(search(&device, &question("a")), Err(SearchError::NotPlain(_))));
    let nowhere = folder.path().join("no/audit.log");
    assert!(matches!(search(&nowhere, &question("a")), Err(SearchError::Io { .. })));
}
