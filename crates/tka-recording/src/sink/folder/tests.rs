use super::*;
use std::os::unix::fs::PermissionsExt;
use tempfile::TempDir;

const ID: &str = "0f9d2f64-52e7-4b29-9d8a-8f1b2b6d2a11";
const HEADER: &str = "{\"version\": 2}\n";

fn name(began: &str) -> RecordingName {
    RecordingName::new(began.parse().unwrap(), ID).unwrap()
}

fn folder() -> (TempDir, Folder) {
    let root = tempfile::tempdir().unwrap();
    let folder = Folder::new(&root.path().join("recordings"));
    folder.make().unwrap();
    (root, folder)
}

fn texts(folder: &Folder) -> Vec<(bool, String)> {
    let kept = folder.list().unwrap();
    kept.iter()
        .map(|kept| (kept.is_whole, fs::read_to_string(&kept.path).unwrap()))
        .collect()
}

fn later() -> SystemTime {
    SystemTime::now() + 2 * PART_GRACE
}

async fn begun(folder: &Folder, began: &str) -> Box<dyn RecordingWriter> {
    let mut writing = folder.begin(&name(began), Encoding::Plain).await.unwrap();
    writing.append(HEADER.into()).await.unwrap();
    writing
}

#[tokio::test]
async fn what_is_appended_is_there_and_whole_at_the_end() {
    let (_root, folder) = folder();
    let mut writing = begun(&folder, "2026-11-26T17:00:00Z").await;
    writing.append("[0.5, \"o\", \"a\"]\n".into()).await.unwrap();
    let expected = format!("{HEADER}[0.5, \"o\", \"a\"]\n");
    assert_eq!(texts(&folder), [(false, expected.clone())]);
    writing.finish().await.unwrap();
    assert_eq!(texts(&folder), [(true, expected)]);
    let kept = &folder.list().unwrap()[0];
    assert_eq!(kept.path.extension().unwrap(), "cast");
    assert_eq!(fs::metadata(&kept.path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn recording_of_a_stream_that_did_not_begin_is_gone() {
    let (_root, folder) = folder();
    begun(&folder, "2026-11-26T17:00:00Z").await.discard().await.unwrap();
    assert_eq!(texts(&folder), []);
}

#[tokio::test]
async fn nothing_that_is_there_is_written_over() {
    let (_root, folder) = folder();
    let writing = begun(&folder, "2026-11-26T17:00:00Z").await;
    let again = folder.begin(&name("2026-11-26T17:00:00Z"), Encoding::Plain).await;
    assert!(matches!(again, Err(SinkError::Io(error)) if error.kind() == io::ErrorKind::AlreadyExists));
    drop(writing);
    let outside = folder.path.with_file_name("outside");
    std::os::unix::fs::symlink(
        &outside,
        folder.path.join(format!("{}.cast.part", name("2026-11-26T18:00:00Z"))),
    )
    .unwrap();
    assert!(
        folder
            .begin(&name("2026-11-26T18:00:00Z"), Encoding::Plain)
            .await
            .is_err()
    );
    assert!(!outside.exists());
}

#[tokio::test]
async fn folder_that_is_not_there_is_not_made() {
    let (root, _) = folder();
    let missing = Folder::new(&root.path().join("not-mounted"));
    assert!(
        missing
            .begin(&name("2026-11-26T17:00:00Z"), Encoding::Plain)
            .await
            .is_err()
    );
    assert!(!missing.path.exists());
}

/// Killed at any byte of a flush: what was acknowledged before is there, and every line is whole.
#[tokio::test]
async fn killed_process_loses_no_more_than_its_last_flush() {
    let flush = "[1.5, \"o\", \"b\"]\n[1.6, \"o\", \"c\"]\n";
    for cut in 0..=flush.len() {
        let (_root, folder) = folder();
        let mut writing = begun(&folder, "2026-11-26T17:00:00Z").await;
        writing.append("[0.5, \"o\", \"a\"]\n".into()).await.unwrap();
        drop(writing);
        let path = folder.list().unwrap()[0].path.clone();
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(&flush.as_bytes()[..cut]).unwrap();
        assert_eq!(
            folder.recover(SystemTime::now()).unwrap(),
            0,
            "it may be another's that is young"
        );
        assert_eq!(folder.recover(later()).unwrap(), 1);
        let (is_whole, text) = texts(&folder).remove(0);
        assert!(
            is_whole && text.starts_with(&format!("{HEADER}[0.5, \"o\", \"a\"]\n")),
            "{text}"
        );
        let events = text
            .lines()
            .skip(1)
            .map(|line| serde_json::from_str::<(f64, String, String)>(line).unwrap());
        let (times, codes): (Vec<f64>, Vec<String>) = events.map(|(time, code, _)| (time, code)).unzip();
        assert!(times.is_sorted() && codes.last().unwrap() == "m", "{text}");
    }
}

#[tokio::test]
async fn part_that_is_being_written_is_left_alone() {
    let (_root, folder) = folder();
    let mut writing = begun(&folder, "2026-11-26T17:00:00Z").await;
    assert_eq!(folder.recover(later()).unwrap(), 0);
    writing.append("[0.5, \"o\", \"a\"]\n".into()).await.unwrap();
    writing.finish().await.unwrap();
    assert_eq!(texts(&folder).len(), 1);
}

#[tokio::test]
async fn part_without_a_whole_line_holds_nothing() {
    let (_root, folder) = folder();
    let mut writing = folder
        .begin(&name("2026-11-26T17:00:00Z"), Encoding::Plain)
        .await
        .unwrap();
    writing.append("{\"vers".into()).await.unwrap();
    drop(writing);
    assert_eq!(folder.recover(later()).unwrap(), 1);
    assert_eq!(texts(&folder), []);
}

fn remove_old(folder: &Folder) -> usize {
    folder.remove_before("2026-10-15T00:00:00Z".parse().unwrap()).unwrap()
}

#[tokio::test]
async fn old_recordings_go_and_no_other_file_does() {
    let (_root, folder) = folder();
    for began in ["2026-10-01T00:00:00Z", "2026-11-01T00:00:00Z"] {
        begun(&folder, began).await.finish().await.unwrap();
    }
    // Those that ended late are as young as their ends.
    assert_eq!(remove_old(&folder), 0);
    let ended = "2026-10-01T01:00:00Z".parse::<Timestamp>().unwrap();
    for kept in folder.list().unwrap() {
        let file = File::options().write(true).open(kept.path).unwrap();
        file.set_modified(ended.into()).unwrap();
    }
    let _writing = begun(&folder, "2026-09-01T00:00:00Z").await;
    let other = folder.path.join("notes.txt");
    fs::write(&other, "mine").unwrap();
    assert_eq!(remove_old(&folder), 1);
    let left: Vec<_> = folder
        .list()
        .unwrap()
        .iter()
        .map(|kept| kept.name.as_str()[..8].to_owned())
        .collect();
    assert_eq!(left, ["20260901", "20261101"]);
    assert!(other.exists());
}

/// `/dev/full` says that the disk is full.
#[test]
fn half_a_flush_is_undone() {
    let (_root, folder) = folder();
    let mut open = Open::new(folder.path.clone(), &name("2026-11-26T17:00:00Z"), Encoding::Plain).unwrap();
    open.append(HEADER.as_bytes()).unwrap();
    let file = std::mem::replace(
        &mut open.file,
        OpenOptions::new().write(true).open("/dev/full").unwrap(),
    );
    assert!(open.append(b"[1.5, \"o\", \"b\"]\n").is_err());
    assert_eq!(open.length, HEADER.len() as u64);
    open.file = file;
    open.append(b"[1.6, \"m\", \"end\"]\n").unwrap();
    open.finish().unwrap();
    assert_eq!(texts(&folder), [(true, format!("{HEADER}[1.6, \"m\", \"end\"]\n"))]);
}

#[test]
fn last_look_is_kept_and_half_of_it_is_none() {
    let (_root, folder) = folder();
    assert_eq!(folder.last_scan().unwrap(), None);
    let now: Timestamp = "2026-11-26T17:00:00.5Z".parse().unwrap();
    folder.record_scan(now).unwrap();
    assert_eq!(folder.last_scan().unwrap(), Some(now));
    assert!(folder.list().unwrap().is_empty());
    for half in [&b"2026-11-2"[..], b"", b"\xff"] {
        fs::write(folder.path().join(LOOKED_THROUGH), half).unwrap();
        assert_eq!(folder.last_scan().unwrap(), None);
    }
}
