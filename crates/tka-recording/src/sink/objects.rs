//! Recordings as objects of a store: each flush is a small object of its own, numbered from one, in a folder of the recording's name.
//!
//! An object is there or not. So a flush counts when the store says so, and a process that is killed loses no more than the flush that was under way.
//! One after another the objects are the recording. Behind the last one of a recording that is whole stands an object `end`, which says how many
//! there are. Without it the recording is still being written, or its server was stopped.

use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use super::{Encoding, RecordingWriter, Sink, SinkError, SinkFuture};
use crate::name::RecordingName;

/// The name of the object that says that a recording is whole. It is no `.cast`, so that those alone are the recording.
pub(crate) const END: &str = "end";

/// A store of objects.
#[derive(Clone, Debug)]
pub struct Objects {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
}

/// A recording that is being written.
#[derive(Debug)]
struct Flushes {
    store: Arc<dyn ObjectStore>,
    folder: Path,
    form: Encoding,
    /// How many are kept, and perhaps one more.
    count: u64,
    has_failed: bool,
}

// === impl Objects ===

impl Objects {
    /// The objects of `store` below `prefix`.
    #[must_use]
    pub fn new(store: Arc<dyn ObjectStore>, prefix: &str) -> Self {
        let prefix = Path::from(prefix);
        Self { store, prefix }
    }

    pub(crate) fn store(&self) -> &dyn ObjectStore {
        self.store.as_ref()
    }

    pub(crate) fn prefix(&self) -> &Path {
        &self.prefix
    }

    /// The folder of a recording.
    pub(crate) fn folder(&self, name: &RecordingName) -> Path {
        self.prefix.clone().join(name.as_str())
    }

    /// The object that says that a recording is whole.
    pub(crate) fn end_of(&self, name: &RecordingName) -> Path {
        self.folder(name).join(END)
    }

    /// The object of a flush.
    pub(crate) fn path_of(&self, name: &RecordingName, form: Encoding, number: u64) -> Path {
        flush_in(&self.folder(name), form, number)
    }
}

/// Nine digits, so that names sort in the order of the flushes.
fn flush_in(folder: &Path, form: Encoding, number: u64) -> Path {
    folder.clone().join(format!("{number:09}.{}", form.extension()))
}

impl Sink for Objects {
    fn begin(&self, name: &RecordingName, form: Encoding) -> SinkFuture<'_, Box<dyn RecordingWriter>> {
        let writing: Box<dyn RecordingWriter> = Box::new(Flushes {
            store: Arc::clone(&self.store),
            folder: self.folder(name),
            form,
            count: 0,
            has_failed: false,
        });
        async move { Ok(writing) }.boxed()
    }
}

// === impl Flushes ===

impl Flushes {
    fn path(&self, number: u64) -> Path {
        flush_in(&self.folder, self.form, number)
    }
}

impl RecordingWriter for Flushes {
    fn append(&mut self, bytes: Bytes) -> SinkFuture<'_, ()> {
        async move {
            // Behind one of which it is not known whether it is kept nothing may stand: there might be a hole.
            if std::mem::replace(&mut self.has_failed, true) {
                return Err(SinkError::GivenUp);
            }
            self.count += 1;
            let path = self.path(self.count);
            if let Err(error) = self.store.put(&path, bytes.into()).await {
                tracing::warn!(%path, %error, "a flush of a recording is not kept");
                return Err(SinkError::Store);
            }
            self.has_failed = false;
            Ok(())
        }
        .boxed()
    }

    fn finish(self: Box<Self>) -> SinkFuture<'static, ()> {
        async move {
            if self.has_failed {
                return Err(SinkError::GivenUp);
            }
            let path = self.folder.clone().join(END);
            let count = format!("{}\n", self.count);
            if let Err(error) = self.store.put(&path, count.into()).await {
                tracing::warn!(%path, %error, "the end of a recording is not kept");
                return Err(SinkError::Store);
            }
            Ok(())
        }
        .boxed()
    }

    fn discard(self: Box<Self>) -> SinkFuture<'static, ()> {
        async move {
            for number in 1..=self.count {
                let path = self.path(number);
                if let Err(error) = self.store.delete(&path).await {
                    tracing::debug!(%path, %error, "a recording of a stream that did not begin is left");
                    return Err(SinkError::Store);
                }
            }
            Ok(())
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::TryStreamExt;
    use object_store::memory::InMemory;

    async fn kept(store: &InMemory) -> Vec<(String, String)> {
        let mut objects: Vec<_> = store.list(None).try_collect().await.unwrap();
        objects.sort_by(|a, b| a.location.cmp(&b.location));
        let mut kept = Vec::new();
        for object in objects {
            let bytes = store.get(&object.location).await.unwrap().bytes().await.unwrap();
            kept.push((object.location.to_string(), String::from_utf8(bytes.to_vec()).unwrap()));
        }
        kept
    }

    fn name() -> RecordingName {
        let id = "0f9d2f64-52e7-4b29-9d8a-8f1b2b6d2a11";
        RecordingName::new("2026-11-26T17:00:00Z".parse().unwrap(), id).unwrap()
    }

    #[tokio::test]
    async fn each_flush_is_an_object() {
        let store = Arc::new(InMemory::new());
        let sink = Objects::new(Arc::clone(&store) as _, "tka/recordings");
        let mut writing = sink.begin(&name(), Encoding::Plain).await.unwrap();
        for line in ["a\n", "b\n"] {
            writing.append(line.into()).await.unwrap();
        }
        let folder = format!("tka/recordings/{}", name());
        let expected = [("000000001.cast", "a\n"), ("000000002.cast", "b\n")];
        let expected = expected.map(|(file, text)| (format!("{folder}/{file}"), text.to_owned()));
        assert_eq!(kept(&store).await, expected);
        writing.discard().await.unwrap();
        assert_eq!(kept(&store).await, []);
    }

    #[tokio::test]
    async fn whole_recording_has_an_end() {
        let store = Arc::new(InMemory::new());
        let sink = Objects::new(Arc::clone(&store) as _, "");
        let mut writing = sink.begin(&name(), Encoding::Plain).await.unwrap();
        for line in ["a\n", "b\n"] {
            writing.append(line.into()).await.unwrap();
        }
        writing.finish().await.unwrap();
        let last = kept(&store).await.pop().unwrap();
        assert_eq!(last, (format!("{}/end", name()), "2\n".to_owned()));
        // What failed before its end has none.
        let failed = Box::new(Flushes {
            store: Arc::clone(&store) as _,
            folder: Path::from("failed"),
            form: Encoding::Plain,
            count: 1,
            has_failed: true,
        });
        assert!(matches!(failed.finish().await, Err(SinkError::GivenUp)));
        assert_eq!(kept(&store).await.len(), 3);
    }
}
