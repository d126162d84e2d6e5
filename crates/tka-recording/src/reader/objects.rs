//! Recordings in a store of objects: a folder each, and an object for each flush.

use bytes::Bytes;
use futures::stream::{self, StreamExt};
use futures::{FutureExt, TryStreamExt};
use object_store::path::Path;
use object_store::{Error, GetOptions, GetResult};

use super::{Content, Details, FIRST_LINE, Reader, first_line};
use crate::name::RecordingName;
use crate::sink::objects::{END, Objects};
use crate::sink::{Encoding, SinkError, SinkFuture};

impl Reader for Objects {
    fn names(&self) -> SinkFuture<'_, Vec<RecordingName>> {
        async move {
            let listed = self.store().list_with_delimiter(Some(self.prefix())).await;
            let folders = listed.map_err(|error| unread(&error))?.common_prefixes;
            let names = folders
                .iter()
                .filter_map(Path::filename)
                .filter_map(RecordingName::parse);
            let mut names: Vec<_> = names.collect();
            names.sort_by(|a, b| b.cmp(a));
            Ok(names)
        }
        .boxed()
    }

    fn details(&self, name: &RecordingName) -> SinkFuture<'_, Option<Details>> {
        let name = name.clone();
        async move {
            let Some((form, first)) = self.first(&name).await? else {
                return Ok(None);
            };
            let first_line = match form {
                Encoding::Plain => start_of(first).await?,
                Encoding::Sealed => None,
            };
            let (mut size, mut has_end) = (0, false);
            let mut objects = self.store().list(Some(&self.folder(&name)));
            while let Some(object) = objects.next().await {
                let object = object.map_err(|error| unread(&error))?;
                match object.location.filename() {
                    Some(END) => has_end = true,
                    _ => size += object.size,
                }
            }
            Ok(Some(Details {
                form,
                is_open: Some(!has_end),
                size,
                first_line,
            }))
        }
        .boxed()
    }

    fn content(&self, name: &RecordingName) -> SinkFuture<'_, Option<(Encoding, Content)>> {
        let name = name.clone();
        async move {
            let Some((form, first)) = self.first(&name).await? else {
                return Ok(None);
            };
            // Asked for before: an end that comes meanwhile counts flushes that are read anyway.
            let count = self.count(&name).await?;
            let (objects, name) = (self.clone(), name.clone());
            // One after the other, by number: there is a next one, or this was the last.
            let rest = stream::try_unfold(2, move |number| {
                let (objects, name) = (objects.clone(), name.clone());
                async move {
                    let object = objects.flush(&name, form, number).await?;
                    if object.is_none() && count.is_some_and(|count| count >= number) {
                        tracing::warn!(recording = %name, number, "a flush of a recording is gone");
                        return Err(SinkError::Unread);
                    }
                    Ok(object.map(|object| (object, number + 1)))
                }
            });
            let flushes = stream::once(std::future::ready(Ok::<_, SinkError>(first))).chain(rest);
            let content = flushes.map_ok(bytes_of).try_flatten();
            Ok(Some((form, content.boxed())))
        }
        .boxed()
    }
}

// === impl Objects ===

impl Objects {
    /// The first flush of a recording, in the form that it has.
    async fn first(&self, name: &RecordingName) -> Result<Option<(Encoding, GetResult)>, SinkError> {
        for form in [Encoding::Plain, Encoding::Sealed] {
            if let Some(object) = self.flush(name, form, 1).await? {
                return Ok(Some((form, object)));
            }
        }
        Ok(None)
    }

    /// How many flushes a recording has that is whole; none where it has no end.
    async fn count(&self, name: &RecordingName) -> Result<Option<u64>, SinkError> {
        let end = match self.store().get_opts(&self.end_of(name), GetOptions::default()).await {
            Ok(end) => end,
            Err(Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(unread(&error)),
        };
        let bytes = end.bytes().await.map_err(|error| unread(&error))?;
        let count = str::from_utf8(&bytes).ok().and_then(|text| text.trim().parse().ok());
        Ok(count)
    }

    async fn flush(&self, name: &RecordingName, form: Encoding, number: u64) -> Result<Option<GetResult>, SinkError> {
        let path = self.path_of(name, form, number);
        match self.store().get_opts(&path, GetOptions::default()).await {
            Ok(object) => Ok(Some(object)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(unread(&error)),
        }
    }
}

fn bytes_of(object: GetResult) -> Content {
    object.into_stream().map_err(|error| unread(&error)).boxed()
}

/// The first line of an object; none where it is too long.
async fn start_of(object: GetResult) -> Result<Option<String>, SinkError> {
    let (mut start, mut bytes) = (Vec::new(), bytes_of(object));
    while let Some(piece) = bytes.next().await {
        let piece: Bytes = piece?;
        start.extend_from_slice(&piece);
        if piece.contains(&b'\n') || start.len() > FIRST_LINE {
            break;
        }
    }
    Ok(first_line(&start))
}

/// The words of the store are in the log: they hold addresses.
fn unread(error: &Error) -> SinkError {
    tracing::warn!(%error, "recordings cannot be read");
    SinkError::Unread
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::Sink;
    use object_store::ObjectStoreExt;
    use object_store::memory::InMemory;
    use std::sync::Arc;

    fn name(began: &str) -> RecordingName {
        RecordingName::new(began.parse().unwrap(), "0f9d2f64-52e7-4b29-9d8a-8f1b2b6d2a11").unwrap()
    }

    async fn keep(objects: &Objects, began: &str, form: Encoding, flushes: &[&'static str]) -> RecordingName {
        let name = name(began);
        let mut writing = objects.begin(&name, form).await.unwrap();
        for flush in flushes {
            writing.append((*flush).into()).await.unwrap();
        }
        writing.finish().await.unwrap();
        name
    }

    async fn text(objects: &Objects, name: &RecordingName) -> Option<(Encoding, String)> {
        let (form, content) = objects.content(name).await.unwrap()?;
        let pieces: Vec<Bytes> = content.try_collect().await.unwrap();
        Some((form, String::from_utf8(pieces.concat()).unwrap()))
    }

    #[tokio::test]
    async fn flushes_one_after_another_are_the_recording() {
        let store = Arc::new(InMemory::new());
        let objects = Objects::new(Arc::clone(&store) as _, "tka/recordings");
        let old = keep(
            &objects,
            "2026-11-26T17:00:00Z",
            Encoding::Plain,
            &["{\"version\": 2}\n", "a\n", "b\n"],
        )
        .await;
        let new = keep(&objects, "2026-11-26T18:00:00Z", Encoding::Sealed, &["x\n"]).await;
        for other in [
            "tka/recordings/other/000000001.cast",
            "tka/recordings/x.cast",
            "tka/000000001.cast",
        ] {
            store.put(&Path::from(other), "no".into()).await.unwrap();
        }
        assert_eq!(objects.names().await.unwrap(), [new.clone(), old.clone()]);
        let details = objects.details(&old).await.unwrap().unwrap();
        assert_eq!(
            (details.form, details.is_open, details.size),
            (Encoding::Plain, Some(false), 19)
        );
        assert_eq!(details.first_line.as_deref(), Some("{\"version\": 2}"));
        assert_eq!(
            text(&objects, &old).await,
            Some((Encoding::Plain, "{\"version\": 2}\na\nb\n".into()))
        );
        let details = objects.details(&new).await.unwrap().unwrap();
        assert_eq!((details.form, details.first_line), (Encoding::Sealed, None));
        assert_eq!(text(&objects, &new).await, Some((Encoding::Sealed, "x\n".into())));
        let none = name("2026-11-26T19:00:00Z");
        assert!(objects.details(&none).await.unwrap().is_none() && text(&objects, &none).await.is_none());
    }

    #[tokio::test]
    async fn recording_without_its_end_is_open_and_a_hole_is_no_end() {
        let store = Arc::new(InMemory::new());
        let objects = Objects::new(Arc::clone(&store) as _, "");
        let cut = name("2026-11-26T17:00:00Z");
        let mut writing = objects.begin(&cut, Encoding::Plain).await.unwrap();
        for flush in ["a\n", "b\n"] {
            writing.append(flush.into()).await.unwrap();
        }
        // Its server is killed.
        drop(writing);
        assert_eq!(objects.details(&cut).await.unwrap().unwrap().is_open, Some(true));
        assert_eq!(text(&objects, &cut).await, Some((Encoding::Plain, "a\nb\n".into())));
        let whole = keep(
            &objects,
            "2026-11-26T18:00:00Z",
            Encoding::Plain,
            &["a\n", "b\n", "c\n"],
        )
        .await;
        assert_eq!(objects.details(&whole).await.unwrap().unwrap().is_open, Some(false));
        for gone in [3, 2] {
            store
                .delete(&objects.path_of(&whole, Encoding::Plain, gone))
                .await
                .unwrap();
            let (_, content) = objects.content(&whole).await.unwrap().unwrap();
            let read: Result<Vec<Bytes>, _> = content.try_collect().await;
            assert!(matches!(read, Err(SinkError::Unread)), "{gone}");
        }
    }

    #[tokio::test]
    async fn first_line_that_is_too_long_is_none() {
        let objects = Objects::new(Arc::new(InMemory::new()), "");
        let long: &'static str = "x".repeat(FIRST_LINE + 10).leak();
        let name = keep(&objects, "2026-11-26T17:00:00Z", Encoding::Plain, &[long, "\n"]).await;
        assert_eq!(objects.details(&name).await.unwrap().unwrap().first_line, None);
        assert_eq!(objects.names().await.unwrap(), [name]);
    }
}
