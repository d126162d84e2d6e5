use super::*;
use crate::sink::{RecordingWriter, Sink};
use std::os::unix::fs::symlink;
use tempfile::TempDir;

const ID: &str = "0f9d2f64-52e7-4b29-9d8a-8f1b2b6d2a11";
const HEADER: &str = "{\"version\": 2}\n";

fn name(began: &str) -> RecordingName {
    RecordingName::new(began.parse().unwrap(), ID).unwrap()
}

fn folder() -> (TempDir, Folder) {
    let root = tempfile::tempdir().unwrap();
    let folder = Folder::new(root.path());
    (root, folder)
}

async fn begun(
    folder: &Folder,
    name: &RecordingName,
    form: Encoding,
    flushes: &[&'static str],
) -> Box<dyn RecordingWriter> {
    let mut writing = folder.begin(name, form).await.unwrap();
    for flush in flushes {
        writing.append((*flush).into()).await.unwrap();
    }
    writing
}

async fn text(folder: &Folder, name: &RecordingName) -> Option<(Encoding, String)> {
    let (form, content) = folder.content(name).await.unwrap()?;
    let pieces: Vec<Bytes> = content.try_collect().await.unwrap();
    assert!(pieces.iter().all(|piece| piece.len() <= PIECE));
    Some((form, String::from_utf8(pieces.concat()).unwrap()))
}

#[tokio::test]
async fn what_is_kept_is_listed_newest_first_and_read_as_it_is() {
    let (root, folder) = folder();
    let (old, new) = (name("2026-11-26T17:00:00Z"), name("2026-11-26T18:00:00Z"));
    let long: &'static str = ("x".repeat(3 * PIECE) + "\n").leak();
    begun(&folder, &old, Encoding::Plain, &[HEADER, long])
        .await
        .finish()
        .await
        .unwrap();
    begun(&folder, &new, Encoding::Sealed, &["sealed\n"])
        .await
        .finish()
        .await
        .unwrap();
    fs::write(root.path().join("other.cast"), "no").unwrap();
    assert_eq!(folder.names().await.unwrap(), [new.clone(), old.clone()]);
    assert_eq!(
        text(&folder, &old).await,
        Some((Encoding::Plain, format!("{HEADER}{long}")))
    );
    let details = folder.details(&old).await.unwrap().unwrap();
    assert_eq!(details.first_line.as_deref(), Some("{\"version\": 2}"));
    assert_eq!(
        (details.is_open, details.size),
        (Some(false), (HEADER.len() + long.len()) as u64)
    );
    let details = folder.details(&new).await.unwrap().unwrap();
    assert_eq!(
        (details.form, details.is_open, details.first_line),
        (Encoding::Sealed, Some(false), None)
    );
    let none = name("2026-11-26T19:00:00Z");
    assert!(folder.details(&none).await.unwrap().is_none() && text(&folder, &none).await.is_none());
}

#[tokio::test]
async fn open_one_is_read_up_to_its_last_whole_line() {
    let (root, folder) = folder();
    let open = name("2026-11-26T17:00:00Z");
    let _writing = begun(&folder, &open, Encoding::Plain, &[HEADER, "a\n"]).await;
    let part = root.path().join(format!("{open}.cast.part"));
    let whole = format!("{HEADER}a\n");
    fs::write(&part, format!("{whole}half")).unwrap();
    let details = folder.details(&open).await.unwrap().unwrap();
    assert_eq!((details.is_open, details.size), (Some(true), whole.len() as u64));
    assert_eq!(text(&folder, &open).await, Some((Encoding::Plain, whole)));
    // Nothing is whole yet.
    fs::write(&part, "half").unwrap();
    assert_eq!(text(&folder, &open).await, Some((Encoding::Plain, String::new())));
    assert_eq!(folder.details(&open).await.unwrap().unwrap().first_line, None);
}

#[tokio::test]
async fn link_is_no_recording() {
    let (root, folder) = folder();
    let elsewhere = root.path().join("secret");
    fs::write(&elsewhere, "secret\n").unwrap();
    let name = name("2026-11-26T17:00:00Z");
    symlink(&elsewhere, root.path().join(format!("{name}.cast"))).unwrap();
    assert_eq!(text(&folder, &name).await, None);
    assert!(folder.details(&name).await.unwrap().is_none());
}

#[tokio::test]
async fn file_that_is_cut_while_it_is_read_is_no_whole_one() {
    let (root, folder) = folder();
    let name = name("2026-11-26T17:00:00Z");
    let long: &'static str = ("x".repeat(3 * PIECE) + "\n").leak();
    begun(&folder, &name, Encoding::Plain, &[long])
        .await
        .finish()
        .await
        .unwrap();
    let (_, mut content) = folder.content(&name).await.unwrap().unwrap();
    assert!(content.next().await.unwrap().is_ok());
    File::options()
        .write(true)
        .open(root.path().join(format!("{name}.cast")))
        .unwrap()
        .set_len(10)
        .unwrap();
    assert!(content.next().await.unwrap().is_err());
    assert!(content.next().await.is_none());
}
