//! Reads a recording in a thread of its own, so that a server that is slow holds up no key.

use std::io::{self, Read};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use super::RecordingError;
use super::cast::{Event, Events};

/// What is in a recording.
pub(crate) type Content = Box<dyn Read + Send>;

/// What the thread tells.
#[derive(Debug)]
pub(super) enum ReaderEvent {
    /// How long nothing may happen in a player, if the recording says so.
    Begins(Option<Duration>),
    Event(Event),
    Ends,
    Fails(RecordingError),
}

/// A thread that reads. It ends when this is dropped, at the latest when the server has sent something or hung up.
#[derive(Debug)]
pub(super) struct Source {
    wanted: Sender<()>,
}

/// Tells once that the recording is over, also where the thread panics.
struct EndNotifier<F: Fn(ReaderEvent)> {
    id: String,
    tell: F,
    is_over: bool,
}

// === impl Source ===

impl Source {
    /// Reads the recording `id`, an event each time [`Self::wants`] is called.
    pub(super) fn start(id: &str, content: Content, tell: impl Fn(ReaderEvent) + Send + 'static) -> Self {
        let (wanted, wishes) = mpsc::channel();
        let teller = EndNotifier {
            id: id.to_owned(),
            tell,
            is_over: false,
        };
        thread::spawn(move || {
            let over = read(&teller.id, content, &wishes, &teller.tell);
            teller.ends(over);
        });
        Self { wanted }
    }

    /// One event more.
    pub(super) fn wants(&self) {
        // A thread that has ended has told so.
        let _ = self.wanted.send(());
    }
}

/// Reads until the end, which is what it returns; none where nothing more is wanted.
fn read(id: &str, content: Content, wishes: &Receiver<()>, tell: &impl Fn(ReaderEvent)) -> Option<ReaderEvent> {
    let mut events = Events::new(id, content);
    match events.first_line() {
        Ok(Some(first_line)) => tell(ReaderEvent::Begins(first_line.idle_time_limit)),
        Ok(None) => return Some(ReaderEvent::Ends),
        Err(error) => return Some(ReaderEvent::Fails(error)),
    }
    loop {
        wishes.recv().ok()?;
        match events.next() {
            Some(Ok(event)) => tell(ReaderEvent::Event(event)),
            Some(Err(error)) => return Some(ReaderEvent::Fails(error)),
            None => return Some(ReaderEvent::Ends),
        }
    }
}

// === impl EndNotifier ===

impl<F: Fn(ReaderEvent)> EndNotifier<F> {
    fn ends(mut self, over: Option<ReaderEvent>) {
        self.is_over = true;
        if let Some(over) = over {
            (self.tell)(over);
        }
    }
}

impl<F: Fn(ReaderEvent)> Drop for EndNotifier<F> {
    fn drop(&mut self) {
        if !self.is_over {
            let source = io::Error::other("reading it has failed");
            (self.tell)(ReaderEvent::Fails(RecordingError::unread(&self.id, source)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    struct Panicking;

    impl Read for Panicking {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            panic!("as a test wants it")
        }
    }

    fn start(content: impl Read + Send + 'static) -> (Source, Receiver<ReaderEvent>) {
        let (sender, told) = mpsc::channel();
        let tell = move |one| drop(sender.send(one));
        (Source::start("a", Box::new(content), tell), told)
    }

    #[test]
    fn no_event_is_read_that_is_not_wanted() {
        let (source, told) = start(Cursor::new("{\"version\": 2}\n[0.5, \"o\", \"a\"]\n"));
        assert!(matches!(told.recv(), Ok(ReaderEvent::Begins(_))));
        assert!(matches!(told.try_recv(), Err(mpsc::TryRecvError::Empty)));
        source.wants();
        assert!(matches!(told.recv(), Ok(ReaderEvent::Event(_))));
        source.wants();
        assert!(matches!(told.recv(), Ok(ReaderEvent::Ends)));
        // And then the thread ends.
        assert!(told.recv().is_err());
    }

    #[test]
    fn thread_ends_with_its_source_and_tells_what_fails() {
        let (source, told) = start(Cursor::new("{\"version\": 2}\n[0.5, \"o\", \"a\"]\n"));
        assert!(matches!(told.recv(), Ok(ReaderEvent::Begins(_))));
        drop(source);
        assert!(told.recv().is_err());
        let (_source, told) = start(Cursor::new("<html>\n"));
        assert!(matches!(
            told.recv(),
            Ok(ReaderEvent::Fails(RecordingError::NoCast { .. }))
        ));
        let (_source, told) = start(Panicking);
        assert!(matches!(
            told.recv(),
            Ok(ReaderEvent::Fails(RecordingError::Cut { .. }))
        ));
    }
}
