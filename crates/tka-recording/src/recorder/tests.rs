use super::state::{NOTICES, WAITING};
use super::*;
use crate::cast::tests::{bytes_of, lines};
use crate::channels::Stream;
use crate::frames::FrameError;
use crate::frames::tests::frame;
use crate::sink::{Encoding, RecordingWriter, SinkFuture};
use bytes::Bytes;
use futures::FutureExt;
use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// A sink in memory that fails, or takes its time, when it is told to.
#[derive(Clone, Debug, Default)]
struct Memory(Arc<MemoryState>);

#[derive(Debug, Default)]
struct MemoryState {
    bytes: Mutex<Vec<u8>>,
    is_full: AtomicBool,
    is_stuck: AtomicBool,
    is_finished: AtomicBool,
    is_discarded: AtomicBool,
    /// Whether each flush waits until it is told to go on.
    is_slow: AtomicBool,
    goes_on: Notify,
    discarded: Notify,
}

impl Memory {
    fn bytes(&self) -> Vec<u8> {
        self.0.bytes.lock().unwrap().clone()
    }
}

impl Sink for Memory {
    fn begin(&self, _: &RecordingName, _: Encoding) -> SinkFuture<'_, Box<dyn RecordingWriter>> {
        let writing: Box<dyn RecordingWriter> = Box::new(self.clone());
        async move { Ok(writing) }.boxed()
    }
}

impl RecordingWriter for Memory {
    fn append(&mut self, bytes: Bytes) -> SinkFuture<'_, ()> {
        async move {
            if self.0.is_stuck.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
            if self.0.is_slow.load(Ordering::Relaxed) {
                self.0.goes_on.notified().await;
            }
            if self.0.is_full.load(Ordering::Relaxed) {
                return Err(io::Error::from(io::ErrorKind::StorageFull).into());
            }
            self.0.bytes.lock().unwrap().extend_from_slice(&bytes);
            Ok(())
        }
        .boxed()
    }

    fn finish(self: Box<Self>) -> SinkFuture<'static, ()> {
        self.0.is_finished.store(true, Ordering::Relaxed);
        async { Ok(()) }.boxed()
    }

    fn discard(self: Box<Self>) -> SinkFuture<'static, ()> {
        self.0.is_discarded.store(true, Ordering::Relaxed);
        self.0.discarded.notify_one();
        async { Ok(()) }.boxed()
    }
}

const LIMITS: Limits = Limits {
    bytes: 1024 * 1024,
    time: Duration::from_hours(1),
};

async fn begin_with(
    sink: &Memory,
    required: bool,
    stdin_recorded: bool,
    limits: Limits,
) -> Result<(Recorder, JoinHandle<Outcome>), RecordError> {
    begin_beside(sink, required, stdin_recorded, limits, &Backlog::new(usize::MAX)).await
}

async fn begin_beside(
    sink: &Memory,
    required: bool,
    stdin_recorded: bool,
    limits: Limits,
    backlog: &Arc<Backlog>,
) -> Result<(Recorder, JoinHandle<Outcome>), RecordError> {
    let about = RecordingMetadata {
        stdin_recorded,
        required,
        ..RecordingMetadata::default()
    };
    let began = "2026-11-26T17:54:46Z".parse().unwrap();
    let name = RecordingName::new(began, "0f9d2f64-52e7-4b29-9d8a-8f1b2b6d2a11").unwrap();
    let sink: Arc<dyn Sink> = Arc::new(sink.clone());
    let (recorder, work) = Recorder::begin(&sink, &name, &about, began, limits, backlog).await?;
    Ok((recorder, tokio::spawn(work)))
}

async fn begin(sink: &Memory, required: bool) -> (Recorder, JoinHandle<Outcome>) {
    begin_with(sink, required, false, LIMITS).await.unwrap()
}

fn output(text: &str) -> Vec<u8> {
    frame(Side::Server, 0x82, format!("\u{1}{text}").as_bytes())
}

fn input(text: &str) -> Vec<u8> {
    frame(Side::Client, 0x82, format!("\u{0}{text}").as_bytes())
}

fn stdout(sink: &Memory) -> String {
    String::from_utf8(bytes_of(&lines(&sink.bytes()), Stream::Stdout)).unwrap()
}

fn last(sink: &Memory) -> String {
    lines(&sink.bytes()).last().unwrap()[2].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn what_may_go_on_is_kept() {
    let sink = Memory::default();
    let (recorder, work) = begin(&sink, true).await;
    assert_eq!(lines(&sink.bytes()).len(), 1, "the header is there before anything");
    for (text, expected) in [("a", "a"), ("\u{20ac}", "a\u{20ac}"), ("c", "a\u{20ac}c")] {
        recorder.passes(Side::Server, &output(text)).await.unwrap();
        assert_eq!(stdout(&sink), expected);
    }
    recorder.passes(Side::Client, &input("secret")).await.unwrap();
    recorder.end("it ended");
    assert_eq!(work.await.unwrap(), Outcome::Whole);
    assert_eq!(last(&sink), "it ended");
    assert!(sink.0.is_finished.load(Ordering::Relaxed));
    assert!(!String::from_utf8(sink.bytes()).unwrap().contains("secret"));
}

#[tokio::test]
async fn half_a_frame_is_kept_before_it_goes_on() {
    let sink = Memory::default();
    let (recorder, _work) = begin(&sink, true).await;
    let bytes = output("hello \u{20ac}");
    for cut in bytes.chunks(1) {
        recorder.passes(Side::Server, cut).await.unwrap();
    }
    assert_eq!(stdout(&sink), "hello \u{20ac}");
}

#[tokio::test(start_paused = true)]
async fn bytes_wait_for_the_sink() {
    let sink = Memory::default();
    let (recorder, work) = begin(&sink, true).await;
    sink.0.is_stuck.store(true, Ordering::Relaxed);
    let bytes = output("a");
    let early = timeout(Duration::from_secs(9), recorder.passes(Side::Server, &bytes)).await;
    assert!(early.is_err());
    let later = recorder.passes(Side::Server, &output("b")).await;
    assert!(matches!(later, Err(RecordError::Slow)), "{later:?}");
    assert!(matches!(
        recorder.passes(Side::Client, &input("x")).await,
        Err(RecordError::Slow)
    ));
    work.await.unwrap();
}

#[tokio::test]
async fn full_disk_ends_a_stream_that_must_be_recorded_and_says_why() {
    let sink = Memory::default();
    let (recorder, work) = begin(&sink, true).await;
    recorder.passes(Side::Server, &output("a")).await.unwrap();
    sink.0.is_full.store(true, Ordering::Relaxed);
    let error = recorder.passes(Side::Server, &output("b")).await.unwrap_err();
    assert_eq!(error.to_string(), "the recording cannot be written: no storage space");
    // It does not begin again when there is space again: there would be a hole.
    sink.0.is_full.store(false, Ordering::Relaxed);
    assert!(recorder.passes(Side::Server, &output("c")).await.is_err());
    assert!(matches!(recorder.failure(), Some(RecordError::Sink(_))));
    recorder.end("ended");
    assert_eq!(work.await.unwrap(), Outcome::Incomplete);
    assert!(!sink.0.is_finished.load(Ordering::Relaxed), "it is not whole");
    assert_eq!(stdout(&sink), "a");
    assert!(
        begin_with(
            &Memory(Arc::new(MemoryState {
                is_full: true.into(),
                ..MemoryState::default()
            })),
            true,
            false,
            LIMITS
        )
        .await
        .is_err()
    );
}

#[tokio::test]
async fn best_effort_holds_nothing_up() {
    let sink = Memory::default();
    let (recorder, work) = begin(&sink, false).await;
    sink.0.is_stuck.store(true, Ordering::Relaxed);
    recorder
        .passes(Side::Server, &output("a"))
        .now_or_never()
        .unwrap()
        .unwrap();
    sink.0.is_stuck.store(false, Ordering::Relaxed);
    recorder
        .passes(Side::Server, &output("b"))
        .now_or_never()
        .unwrap()
        .unwrap();
    // Bytes that are no frames go on too, and the recording says so.
    recorder
        .passes(Side::Server, &[0xff; 9])
        .now_or_never()
        .unwrap()
        .unwrap();
    recorder
        .passes(Side::Server, &output("c"))
        .now_or_never()
        .unwrap()
        .unwrap();
    recorder.end("ended");
    work.await.unwrap();
    assert_eq!(stdout(&sink), "ab");
    assert!(
        String::from_utf8(sink.bytes())
            .unwrap()
            .contains("recorded no further: the stream cannot be recorded")
    );
}

#[tokio::test]
async fn input_that_cannot_be_read_does_not_hide_output() {
    let sink = Memory::default();
    let (recorder, work) = begin(&sink, false).await;
    for _ in 0..3 {
        recorder.passes(Side::Client, &[0xff; 9]).await.unwrap();
    }
    recorder.passes(Side::Server, &output("seen")).await.unwrap();
    recorder.end("ended");
    work.await.unwrap();
    assert_eq!(stdout(&sink), "seen");
    let text = String::from_utf8(sink.bytes()).unwrap();
    assert_eq!(text.matches("input is recorded no further").count(), 1);
    // Where it must be recorded the stream ends.
    let (recorder, _work) = begin(&Memory::default(), true).await;
    assert!(recorder.passes(Side::Client, &[0xff; 9]).await.is_err());
}

#[tokio::test]
async fn best_effort_leaves_out_what_is_too_much_and_says_so() {
    let sink = Memory::default();
    let limits = Limits {
        bytes: u64::MAX,
        ..LIMITS
    };
    let (recorder, work) = begin_with(&sink, false, false, limits).await.unwrap();
    sink.0.is_stuck.store(true, Ordering::Relaxed);
    let bytes = output(&"x".repeat(1024 * 1024));
    for _ in 0..6 {
        recorder.passes(Side::Server, &bytes).now_or_never().unwrap().unwrap();
    }
    assert!(recorder.shared.state().cast.len() < WAITING + 2 * bytes.len());
    sink.0.is_stuck.store(false, Ordering::Relaxed);
    recorder.end("ended");
    work.await.unwrap();
    let text = String::from_utf8(sink.bytes()).unwrap();
    assert!(text.contains("bytes of output are left out"), "{}", last(&sink));
    assert_eq!(last(&sink), "ended");
}

#[tokio::test]
async fn what_is_no_frame_ends_a_stream_that_must_be_recorded() {
    let sink = Memory::default();
    let (recorder, _work) = begin(&sink, true).await;
    let compressed = frame(Side::Server, 0xc2, b"\x01abc");
    let error = recorder.passes(Side::Server, &compressed).await.unwrap_err();
    assert!(matches!(error, RecordError::Unreadable(FrameError::Extension)));
    assert!(recorder.passes(Side::Server, &output("a")).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn limits_end_what_must_be_recorded() {
    let sink = Memory::default();
    let small = Limits { bytes: 4096, ..LIMITS };
    let (recorder, _work) = begin_with(&sink, true, false, small).await.unwrap();
    let sent = async {
        for count in 0.. {
            if let Err(error) = recorder.passes(Side::Server, &output(&"x".repeat(100))).await {
                return (count, error);
            }
        }
        unreachable!()
    };
    let (count, error) = sent.await;
    assert!(
        matches!(error, RecordError::Size(4096)) && count > 10,
        "{count} {error}"
    );
    assert!(sink.bytes().len() < 4096 + 512);
    let sink = Memory::default();
    let (recorder, _work) = begin(&sink, true).await;
    tokio::time::advance(LIMITS.time).await;
    let error = recorder.passes(Side::Client, &input("x")).await.unwrap_err();
    assert!(matches!(error, RecordError::Time(_)));
}

#[tokio::test(start_paused = true)]
async fn input_waits_where_it_is_kept() {
    let sink = Memory::default();
    let (recorder, _work) = begin_with(&sink, true, true, LIMITS).await.unwrap();
    recorder.passes(Side::Client, &input("ls\n")).await.unwrap();
    assert_eq!(bytes_of(&lines(&sink.bytes()), Stream::Stdin), b"ls\n");
    sink.0.is_stuck.store(true, Ordering::Relaxed);
    assert!(recorder.passes(Side::Client, &input("rm\n")).await.is_err());
}

/// A client that only resizes its terminal neither fills the memory nor pushes out what must be recorded.
#[tokio::test(start_paused = true)]
async fn sizes_do_not_pile_up() {
    let sink = Memory::default();
    let limits = Limits {
        bytes: u64::MAX,
        ..LIMITS
    };
    let (recorder, _work) = begin_with(&sink, true, false, limits).await.unwrap();
    sink.0.is_stuck.store(true, Ordering::Relaxed);
    let size = frame(Side::Client, 0x82, b"\x04{\"Width\":1,\"Height\":2}").repeat(1000);
    let flood = async { while recorder.passes(Side::Client, &size).await.is_ok() {} };
    timeout(Duration::from_mins(1), flood).await.unwrap();
    assert!(recorder.shared.state().cast.len() < 1024 * 1024);
}

#[tokio::test]
async fn recording_ends_with_its_recorder() {
    let sink = Memory::default();
    let (recorder, work) = begin(&sink, true).await;
    drop(recorder);
    work.await.unwrap();
    assert_eq!(last(&sink), "the stream was given up");
    let sink = Memory::default();
    let (recorder, work) = begin(&sink, true).await;
    recorder.discard();
    work.await.unwrap();
    assert!(sink.0.is_discarded.load(Ordering::Relaxed));
    assert_eq!(recorder.failure().map(|error| error.to_string()), None);
    assert!(recorder.passes(Side::Server, &output("a")).await.is_err());
}

/// A store that does not answer holds up no stream that need not be recorded.
#[tokio::test(start_paused = true)]
async fn best_effort_begins_without_its_sink() {
    let sink = Memory::default();
    sink.0.is_stuck.store(true, Ordering::Relaxed);
    let began = Instant::now();
    let (recorder, work) = begin(&sink, false).await;
    recorder.passes(Side::Server, &output("a")).await.unwrap();
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!(work.await.unwrap(), Outcome::Incomplete);
    assert!(matches!(recorder.failure(), Some(RecordError::Slow)));
    recorder.passes(Side::Server, &output("b")).await.unwrap();
    assert_eq!(recorder.shared.state().cast.len(), 0, "nothing more is kept in memory");
}

#[tokio::test]
async fn caller_who_hangs_up_at_the_beginning_leaves_no_recording() {
    let sink = Memory::default();
    sink.0.is_slow.store(true, Ordering::Relaxed);
    drop(begin(&sink, true).boxed().now_or_never());
    sink.0.goes_on.notify_one();
    sink.0.discarded.notified().await;
    assert!(sink.0.is_discarded.load(Ordering::Relaxed));
}

#[tokio::test]
async fn flood_of_a_client_leaves_room_for_output() {
    let sink = Memory::default();
    let limits = Limits {
        bytes: 64 * 1024 * 1024,
        ..LIMITS
    };
    let (recorder, work) = begin_with(&sink, false, false, limits).await.unwrap();
    let odd = frame(Side::Client, 0x82, &vec![9; 65_000]);
    for _ in 0..1_500 {
        recorder.passes(Side::Client, &odd).await.unwrap();
    }
    recorder.passes(Side::Server, &output("seen")).await.unwrap();
    recorder.end("ended");
    assert_eq!(work.await.unwrap(), Outcome::Whole);
    assert_eq!(stdout(&sink), "seen");
    assert!(sink.bytes().len() < 2 * NOTICES, "{}", sink.bytes().len());
    let text = String::from_utf8(sink.bytes()).unwrap();
    assert_eq!(
        text.matches("other channels of the client are recorded no further")
            .count(),
        1
    );
}

#[tokio::test]
async fn recordings_that_are_not_waited_for_share_one_limit_of_memory() {
    let backlog = Backlog::new(1024 * 1024);
    let sink = Memory::default();
    let limits = Limits {
        bytes: u64::MAX,
        ..LIMITS
    };
    let (one, first) = begin_beside(&sink, false, false, limits, &backlog).await.unwrap();
    let (other, second) = begin_beside(&sink, false, false, limits, &backlog).await.unwrap();
    sink.0.is_stuck.store(true, Ordering::Relaxed);
    let bytes = output(&"x".repeat(1024 * 1024));
    for recorder in [&one, &other, &one, &other] {
        recorder.passes(Side::Server, &bytes).now_or_never().unwrap().unwrap();
    }
    let held = [&one, &other].map(|recorder| recorder.shared.state().cast.len());
    assert!(held[0] > 1024 * 1024 && held[1] < 4096, "{held:?}");
    sink.0.is_stuck.store(false, Ordering::Relaxed);
    one.end("ended");
    other.end("ended");
    assert_eq!([first.await.unwrap(), second.await.unwrap()], [Outcome::Whole; 2]);
}
