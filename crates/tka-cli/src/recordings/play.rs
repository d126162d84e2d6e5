//! Plays a recording: what the plan says, on the stage, from the source.

use std::collections::VecDeque;
use std::io;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use super::RecordingError;
use super::cast::Event;
pub(crate) use super::plan::SPEEDS;
use super::plan::{KeyAction, Next, Playback};
pub(crate) use super::source::Content;
use super::source::{ReaderEvent, Source};
use super::stage::{PlaybackInput, Stage};

/// How many events are read ahead.
const READ_AHEAD_EVENTS: usize = 2;

/// How to play.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// How many times as fast as it was recorded.
    pub(crate) speed: f64,
    /// How long nothing may happen at the most; what the recording says if it is not said.
    pub(crate) idle: Option<Duration>,
    /// Where to begin.
    pub(crate) from: Option<Duration>,
}

/// How playing ended.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Ended {
    /// How many sequences were not shown.
    pub(crate) left_out: u64,
    /// Whether the recording has no end: it is still being written, or its server was stopped.
    pub(crate) is_cut: bool,
    /// The signal that ended it.
    #[cfg_attr(not(unix), allow(dead_code, reason = "there are none"))]
    pub(crate) signal: Option<i32>,
}

enum Message {
    PlaybackInput(PlaybackInput),
    /// Of which reading of the recording, and what.
    ReaderEvent(u64, ReaderEvent),
}

struct Player<'a, E> {
    id: &'a str,
    /// Opens the recording, again where it is played from its beginning.
    open: &'a dyn Fn() -> Result<Content, E>,
    plan: Playback,
    stage: Stage,
    source: Source,
    /// Which reading of the recording counts.
    reading: u64,
    ahead: VecDeque<Event>,
    is_over: bool,
    /// Why it could not be read further. What was read before is shown first.
    failed: Option<RecordingError>,
    last_is_marker: bool,
    /// The largest size of which it was told that it does not fit.
    told_size: (u16, u16),
    sender: Sender<Message>,
    messages: Receiver<Message>,
}

/// Plays the recording `id`. On a terminal keys are obeyed, and the terminal is as it was when this returns.
pub(crate) fn play<E: From<RecordingError>>(
    id: &str,
    options: Options,
    open: &dyn Fn() -> Result<Content, E>,
) -> Result<Ended, E> {
    let content = open()?;
    let (sender, messages) = mpsc::channel();
    let hear = {
        let sender = sender.clone();
        move |heard| sender.send(Message::PlaybackInput(heard)).is_ok()
    };
    let stage = Stage::begin(hear).map_err(RecordingError::Terminal)?;
    let mut player = Player {
        id,
        open,
        plan: Playback::new(options.speed, options.idle, options.from, Instant::now()),
        stage,
        source: start(id, content, 0, &sender),
        reading: 0,
        ahead: VecDeque::new(),
        is_over: false,
        failed: None,
        last_is_marker: false,
        told_size: (0, 0),
        sender,
        messages,
    };
    player.run()
}

/// Reads the recording in the background.
fn start(id: &str, content: Content, reading: u64, sender: &Sender<Message>) -> Source {
    let sender = sender.clone();
    let source = Source::start(id, content, move |told| {
        // A player that is gone wants to know nothing.
        let _ = sender.send(Message::ReaderEvent(reading, told));
    });
    (0..READ_AHEAD_EVENTS).for_each(|_| source.wants());
    source
}

// === impl Player ===

impl<E: From<RecordingError>> Player<'_, E> {
    fn run(&mut self) -> Result<Ended, E> {
        loop {
            let wait = match self.ahead.front().map(Event::at) {
                Some(at) => match self.plan.next(at, Instant::now()) {
                    Next::Show => {
                        self.show(at)?;
                        continue;
                    }
                    Next::After(wait) => Some(wait),
                    Next::Wait => None,
                },
                None if self.failed.is_some() => return Err(self.failure().into()),
                None if self.is_over => return Ok(self.ended(!self.last_is_marker, None)),
                None => None,
            };
            match self.receive(wait)? {
                Some(Message::PlaybackInput(PlaybackInput::Signal(signal))) => {
                    return Ok(self.ended(false, Some(signal)));
                }
                Some(Message::PlaybackInput(PlaybackInput::Key(key))) => match self.plan.press(key, Instant::now()) {
                    KeyAction::On => {}
                    KeyAction::Again => self.again()?,
                    KeyAction::Leave => return Ok(self.ended(false, None)),
                },
                Some(Message::ReaderEvent(reading, told)) if reading == self.reading => self.takes(told),
                // Of an earlier reading, or nothing.
                Some(Message::ReaderEvent(..)) | None => {}
            }
        }
    }

    /// The next message; none where there was none for so long.
    fn receive(&self, wait: Option<Duration>) -> Result<Option<Message>, RecordingError> {
        let gone = || RecordingError::unread(self.id, io::ErrorKind::BrokenPipe.into());
        match wait {
            Some(wait) => match self.messages.recv_timeout(wait) {
                Ok(message) => Ok(Some(message)),
                Err(RecvTimeoutError::Timeout) => Ok(None),
                Err(RecvTimeoutError::Disconnected) => Err(gone()),
            },
            None => self.messages.recv().map(Some).map_err(|_| gone()),
        }
    }

    fn failure(&mut self) -> RecordingError {
        let gone = || RecordingError::unread(self.id, io::ErrorKind::UnexpectedEof.into());
        self.failed.take().unwrap_or_else(gone)
    }

    fn takes(&mut self, told: ReaderEvent) {
        match told {
            ReaderEvent::Begins(idle) => self.plan.limit_idle(idle),
            ReaderEvent::Event(event) => {
                if self.ahead.is_empty() {
                    self.plan.comes_late(event.at(), Instant::now());
                }
                self.ahead.push_back(event);
            }
            ReaderEvent::Ends => self.is_over = true,
            ReaderEvent::Fails(error) => self.failed = Some(error),
        }
    }

    /// Shows the next event, which was recorded `at`.
    fn show(&mut self, at: Duration) -> Result<(), RecordingError> {
        let Some(event) = self.ahead.pop_front() else {
            return Ok(());
        };
        self.source.wants();
        self.plan.shows(at, Instant::now());
        self.last_is_marker = event.is_marker();
        let shown = match event.text() {
            Some(text) if event.is_output() => self.stage.show(&text),
            _ if event.1 == "r" => self.resizes(&event.2),
            _ => Ok(()),
        };
        shown.map_err(RecordingError::Print)
    }

    /// Tells of a size that this terminal does not have, once.
    fn resizes(&mut self, size: &str) -> io::Result<()> {
        let (Some(recorded), Some(here)) = (parse_size(size), self.stage.size()) else {
            return Ok(());
        };
        match too_small(recorded, here, self.told_size) {
            Some(text) => {
                self.told_size = recorded;
                Stage::tell(&text)
            }
            None => Ok(()),
        }
    }

    /// Begins again, up to where a key has led.
    fn again(&mut self) -> Result<(), E> {
        self.stage.again().map_err(RecordingError::Print)?;
        self.reading += 1;
        self.ahead.clear();
        self.is_over = false;
        self.failed = None;
        let content = (self.open)()?;
        self.source = start(self.id, content, self.reading, &self.sender);
        Ok(())
    }

    fn ended(&self, is_cut: bool, signal: Option<i32>) -> Ended {
        Ended {
            left_out: self.stage.left_out(),
            is_cut,
            signal,
        }
    }
}

/// `COLUMNSxROWS`.
fn parse_size(text: &str) -> Option<(u16, u16)> {
    let (columns, rows) = text.split_once('x')?;
    Some((columns.parse().ok()?, rows.parse().ok()?))
}

/// What to say of a recording that is larger than the terminal `here`, unless that was `told` of one as large.
fn too_small(recorded: (u16, u16), here: (u16, u16), told: (u16, u16)) -> Option<String> {
    let is_larger = recorded.0 > here.0 || recorded.1 > here.1;
    let is_told = recorded.0 <= told.0 && recorded.1 <= told.1;
    (is_larger && !is_told).then(|| {
        format!(
            "[tka: the recording has {}x{} characters from here on, and this terminal {}x{}: make it larger, or lines are broken]",
            recorded.0, recorded.1, here.0, here.1
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminal_that_is_too_small_is_told_once() {
        assert_eq!(parse_size("120x40"), Some((120, 40)));
        for wrong in ["", "120", "ax2", "70000x1", "-1x2"] {
            assert_eq!(parse_size(wrong), None, "{wrong}");
        }
        let (here, none) = ((80, 24), (0, 0));
        assert_eq!(too_small((80, 24), here, none), None);
        assert!(too_small((81, 24), here, none).unwrap().contains("81x24"));
        assert!(too_small((80, 25), here, none).unwrap().contains("80x24"));
        assert_eq!(too_small((81, 24), here, (120, 40)), None);
        assert!(too_small((121, 24), here, (120, 40)).is_some());
    }
}
