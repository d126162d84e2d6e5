//! Upgraded connections: bytes in both directions while the session's gate is open.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout};

use crate::body::Counter;
use crate::flow::{Cut, Gate, StopReason};
use crate::last_use::LastUse;
use crate::tap::{FrameBuffer, Origin, Tap};
use crate::websocket::{Channels, Frames};

/// How much is carried at a time, in bytes. It is all that waits for a slow reader.
const BUFFER: usize = 16 * 1024;
/// How much is carried at a time of a stream that is recorded: its bytes wait at each step.
const TAPPED: usize = 64 * 1024;
/// How long one direction may go on once the other has ended, and how long a goodbye may take.
const LINGER: Duration = Duration::from_secs(2);

/// What a relay knows of the stream that it carries.
#[derive(Clone, Debug)]
pub struct Stream {
    /// Says whether bytes may move.
    pub gate: Gate,
    /// How its frames are made, where it is a WebSocket. Else it is closed without a word.
    pub websocket: Option<Channels>,
    /// Sees its bytes before they go on.
    pub tap: Option<Arc<dyn Tap>>,
    /// Counts bytes from the caller.
    pub sent: Counter,
    /// Counts bytes to the caller.
    pub received: Counter,
    /// When its session was last used.
    pub last_use: LastUse,
}

/// Carries bytes between the caller and the API server until one of them closes, or the session's bytes may not move any more. Then it returns why.
pub async fn relay<C, U>(caller: C, upstream: U, stream: Stream) -> Option<Cut>
where
    C: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    let (caller_read, mut caller_write) = tokio::io::split(caller);
    let (upstream_read, mut upstream_write) = tokio::io::split(upstream);
    let channels = stream.websocket.unwrap_or(Channels::Unknown);
    let (mut input, mut frames) = (Frames::new(channels), Frames::new(channels));
    let cut = {
        let up = Direction {
            from: Origin::Caller,
            gate: stream.gate.clone(),
            tap: stream.tap.as_deref(),
            count: &stream.sent,
        };
        let down = Direction {
            from: Origin::Upstream,
            gate: stream.gate.clone(),
            tap: stream.tap.as_deref(),
            count: &stream.received,
        };
        let up = up.carry(caller_read, &mut upstream_write, |bytes| {
            // Other protocols (SPDY) are not parsed: their bytes may be pings, so they do not count as use.
            if stream.websocket.is_some() && input.follow(bytes).is_input {
                stream.last_use.used(Instant::now());
            }
        });
        let down = down.carry(upstream_read, &mut caller_write, |bytes| {
            frames.follow(bytes);
        });
        let (mut up, mut down) = (std::pin::pin!(up), std::pin::pin!(down));
        tokio::select! {
            cut = &mut up => match cut {
                Some(cut) => Some(cut),
                None => timeout(LINGER, down).await.unwrap_or_default(),
            },
            cut = &mut down => match cut {
                Some(cut) => Some(cut),
                None => timeout(LINGER, up).await.unwrap_or_default(),
            },
        }
    };
    // First: what runs in the pod must not outlive the session while its caller is told.
    let _ = timeout(LINGER, upstream_write.shutdown()).await;
    if let (Some(cut), Some(_)) = (&cut, stream.websocket) {
        let words = frames.close_frames(&cut.to_string());
        let said = async {
            caller_write.write_all(&words).await?;
            caller_write.flush().await
        };
        // A caller that does not read finds the connection closed.
        let _ = timeout(LINGER, said).await;
    }
    let _ = timeout(LINGER, caller_write.shutdown()).await;
    cut
}

/// One direction of a stream.
struct Direction<'a> {
    from: Origin,
    gate: Gate,
    tap: Option<&'a dyn Tap>,
    count: &'a Counter,
}

/// How one direction ends.
enum End {
    /// The end to which the bytes go is gone.
    Gone,
    Cut(Option<Cut>),
}

// === impl Direction ===

impl Direction<'_> {
    /// Carries until the end, and passes the end on. Says why it was cut, if it was.
    async fn carry<R, W>(mut self, from: R, to: &mut W, seen: impl FnMut(&[u8])) -> Option<Cut>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        match self.carry_all(from, to, seen).await {
            Ok(()) => {
                let _ = to.shutdown().await;
                None
            }
            Err(End::Gone) => None,
            Err(End::Cut(cut)) => cut,
        }
    }

    async fn carry_all<R, W>(&mut self, mut from: R, to: &mut W, mut seen: impl FnMut(&[u8])) -> Result<(), End>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let mut buffer = vec![0; self.tap.map_or(BUFFER, |_| TAPPED)];
        let mut whole = FrameBuffer::default();
        loop {
            let read = self.gate.run(from.read(&mut buffer)).await?;
            let Ok(length @ 1..) = read else { break };
            let bytes = &buffer[..length];
            match (self.tap, self.from) {
                (None, _) => self.write(bytes, to, &mut seen).await?,
                (Some(tap), Origin::Caller) => self.pass(tap, bytes, to, &mut seen).await?,
                (Some(tap), Origin::Upstream) if !tap.may_end() => self.pass(tap, bytes, to, &mut seen).await?,
                (Some(tap), Origin::Upstream) => {
                    let bytes = whole.add(bytes);
                    self.pass(tap, &bytes, to, &mut seen).await?;
                }
            }
        }
        if let Some(tap) = self.tap {
            self.pass(tap, &whole.rest(), to, &mut seen).await?;
        }
        Ok(())
    }

    /// Writes `bytes` when `tap` lets them go on.
    async fn pass<W>(
        &mut self,
        tap: &dyn Tap,
        bytes: &[u8],
        to: &mut W,
        seen: &mut impl FnMut(&[u8]),
    ) -> Result<(), End>
    where
        W: AsyncWrite + Unpin,
    {
        if bytes.is_empty() {
            return Ok(());
        }
        let passed = self.gate.run(tap.passes(self.from, bytes)).await?;
        passed.map_err(|cut| End::Cut(Some(cut)))?;
        self.write(bytes, to, seen).await
    }

    async fn write<W>(&mut self, mut left: &[u8], to: &mut W, seen: &mut impl FnMut(&[u8])) -> Result<(), End>
    where
        W: AsyncWrite + Unpin,
    {
        while !left.is_empty() {
            // `write`, not `write_all`: it is cancel-safe, so the count is exact when the gate cuts it.
            let Ok(written @ 1..) = self.gate.run(to.write(left)).await? else {
                return Err(End::Gone);
            };
            seen(&left[..written]);
            self.count.add(written);
            left = &left[written..];
        }
        self.gate.run(to.flush()).await?.map_err(|_| End::Gone)
    }
}

impl From<StopReason> for End {
    fn from(halt: StopReason) -> Self {
        Self::Cut(cut(halt))
    }
}

/// Why it was cut. Only a watch is drained, so `Drained` is no cut here.
fn cut(halt: StopReason) -> Option<Cut> {
    match halt {
        StopReason::Cut(cut) => Some(cut),
        StopReason::Drained => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CutKind, Flow};
    use futures::FutureExt;
    use futures::future::BoxFuture;
    use std::sync::Mutex;
    use tokio::io::duplex;
    use tokio::sync::watch;

    struct World {
        flow: watch::Sender<Flow>,
        caller: tokio::io::DuplexStream,
        upstream: tokio::io::DuplexStream,
        relay: tokio::task::JoinHandle<Option<Cut>>,
        stream: Stream,
    }

    fn world(websocket: Option<Channels>) -> World {
        tapped(websocket, None)
    }

    fn tapped(websocket: Option<Channels>, tap: Option<Arc<dyn Tap>>) -> World {
        let (flow, receiver) = watch::channel(Flow::Open);
        let (caller, caller_end) = duplex(64);
        let (upstream, upstream_end) = duplex(64);
        let stream = Stream {
            gate: Gate::new(receiver),
            websocket,
            tap,
            sent: Counter::default(),
            received: Counter::default(),
            last_use: LastUse::new(Instant::now()),
        };
        let relay = tokio::spawn(relay(caller_end, upstream_end, stream.clone()));
        World {
            flow,
            caller,
            upstream,
            relay,
            stream,
        }
    }

    async fn read(stream: &mut tokio::io::DuplexStream, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        stream.read_exact(&mut bytes).await.unwrap();
        bytes
    }

    #[tokio::test]
    async fn bytes_go_both_ways_and_are_counted() {
        let mut world = world(None);
        world.caller.write_all(b"ping").await.unwrap();
        assert_eq!(read(&mut world.upstream, 4).await, b"ping");
        world.upstream.write_all(b"pong!").await.unwrap();
        assert_eq!(read(&mut world.caller, 5).await, b"pong!");
        drop(world.upstream);
        assert_eq!(world.caller.read(&mut [0; 1]).await.unwrap(), 0);
        drop(world.caller);
        assert_eq!(world.relay.await.unwrap(), None);
        assert_eq!((world.stream.sent.get(), world.stream.received.get()), (4, 5));
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_moves_while_held() {
        let mut world = world(None);
        world.flow.send_replace(Flow::Held);
        world.upstream.write_all(b"late").await.unwrap();
        let early = timeout(Duration::from_secs(3), world.caller.read(&mut [0; 4])).await;
        assert!(early.is_err());
        world.flow.send_replace(Flow::Open);
        assert_eq!(read(&mut world.caller, 4).await, b"late");
    }

    #[tokio::test(start_paused = true)]
    async fn input_is_use_and_output_and_other_protocols_are_not() {
        for (websocket, is_use) in [(Some(Channels::Binary), true), (None, false)] {
            let mut world = world(websocket);
            tokio::time::advance(Duration::from_mins(1)).await;
            world.upstream.write_all(&[0x82, 2, 1, b'x']).await.unwrap();
            read(&mut world.caller, 4).await;
            assert!(world.stream.last_use.unused_for(Instant::now()) >= Duration::from_mins(1));
            let typed = [0x82, 0x82, 0, 0, 0, 0, 0, b'x'];
            world.caller.write_all(&typed).await.unwrap();
            read(&mut world.upstream, typed.len()).await;
            let unused = world.stream.last_use.unused_for(Instant::now());
            assert_eq!(unused < Duration::from_mins(1), is_use, "{websocket:?}");
        }
    }

    #[tokio::test]
    async fn cut_websocket_is_told_why_between_frames() {
        let mut world = world(Some(Channels::Binary));
        let hello = [0x82, 3, 1, b'h', b'i'];
        world.upstream.write_all(&hello).await.unwrap();
        assert_eq!(read(&mut world.caller, 5).await, hello);
        world
            .flow
            .send_replace(Flow::Cut(Cut::new(CutKind::Ended, "signed out")));
        let mut rest = Vec::new();
        world.caller.read_to_end(&mut rest).await.unwrap();
        assert_eq!((rest[0], rest[2]), (0x82, 3));
        assert!(rest.ends_with(b"\x03\xf0signed out"));
        assert_eq!(world.relay.await.unwrap(), Some(Cut::new(CutKind::Ended, "signed out")));
        assert_eq!(world.upstream.read(&mut [0; 1]).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn other_protocols_are_only_closed() {
        let mut world = world(None);
        world
            .flow
            .send_replace(Flow::Cut(Cut::new(CutKind::Ended, "signed out")));
        let mut rest = Vec::new();
        world.caller.read_to_end(&mut rest).await.unwrap();
        assert!(rest.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn caller_that_stops_reading_holds_up_nothing_but_itself() {
        let mut world = world(Some(Channels::Binary));
        world.upstream.write_all(&[0x82, 60]).await.unwrap();
        for _ in 0..4 {
            let _ = timeout(Duration::from_millis(10), world.upstream.write_all(&[0; 64])).await;
        }
        world
            .flow
            .send_replace(Flow::Cut(Cut::new(CutKind::Ended, "signed out")));
        assert_eq!(world.relay.await.unwrap(), Some(Cut::new(CutKind::Ended, "signed out")));
    }

    /// Lets bytes go on that it is told to, and keeps what it saw.
    #[derive(Debug)]
    struct Recorder {
        may_end: bool,
        seen: Mutex<Vec<(Origin, Vec<u8>)>>,
        acknowledged: watch::Receiver<Option<usize>>,
    }

    impl Tap for Recorder {
        fn may_end(&self) -> bool {
            self.may_end
        }

        fn passes<'a>(&'a self, from: Origin, bytes: &'a [u8]) -> BoxFuture<'a, Result<(), Cut>> {
            let count = {
                let mut seen = self.seen.lock().unwrap();
                seen.push((from, bytes.to_vec()));
                seen.len()
            };
            let mut acknowledged = self.acknowledged.clone();
            async move {
                let is_decided = |told: &Option<usize>| told.is_none() || *told >= Some(count);
                let told = *acknowledged.wait_for(is_decided).await.unwrap();
                told.map(|_| ())
                    .ok_or_else(|| Cut::new(CutKind::Unrecorded, "the disk is full"))
            }
            .boxed()
        }
    }

    fn recorded() -> (World, Arc<Recorder>, watch::Sender<Option<usize>>) {
        with_recorder(true)
    }

    fn with_recorder(may_end: bool) -> (World, Arc<Recorder>, watch::Sender<Option<usize>>) {
        let (acknowledge, acknowledged) = watch::channel(Some(0));
        let recorder = Arc::new(Recorder {
            may_end,
            seen: Mutex::default(),
            acknowledged,
        });
        let tap: Arc<dyn Tap> = Arc::clone(&recorder) as _;
        (tapped(Some(Channels::Binary), Some(tap)), recorder, acknowledge)
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_go_on_when_they_are_acknowledged() {
        let (mut world, recorder, acknowledge) = recorded();
        let hello = [0x82, 3, 1, b'h', b'i'];
        world.upstream.write_all(&hello).await.unwrap();
        let early = timeout(Duration::from_secs(5), world.caller.read(&mut [0; 1])).await;
        assert!(early.is_err());
        assert_eq!(*recorder.seen.lock().unwrap(), [(Origin::Upstream, hello.to_vec())]);
        acknowledge.send_replace(Some(1));
        assert_eq!(read(&mut world.caller, 5).await, hello);
        world.caller.write_all(b"typed").await.unwrap();
        let early = timeout(Duration::from_secs(5), world.upstream.read(&mut [0; 1])).await;
        assert!(early.is_err());
        acknowledge.send_replace(Some(2));
        assert_eq!(read(&mut world.upstream, 5).await, b"typed");
    }

    #[tokio::test(start_paused = true)]
    async fn stream_that_cannot_be_recorded_ends_and_says_why() {
        let (mut world, _recorder, acknowledge) = recorded();
        acknowledge.send_replace(Some(1));
        let hello = [0x82, 3, 1, b'h', b'i'];
        world.upstream.write_all(&hello).await.unwrap();
        assert_eq!(read(&mut world.caller, 5).await, hello);
        world
            .upstream
            .write_all(&[0x82, 5, 1, b's', b'e', b'c', b'r'])
            .await
            .unwrap();
        acknowledge.send_replace(None);
        let mut rest = Vec::new();
        world.caller.read_to_end(&mut rest).await.unwrap();
        assert_eq!(
            (rest[0], rest[2]),
            (0x82, 3),
            "a message on the error channel: {rest:?}"
        );
        assert!(rest.ends_with(b"\x03\xf0the disk is full"));
        let cut = Cut::new(CutKind::Unrecorded, "the disk is full");
        assert_eq!(world.relay.await.unwrap(), Some(cut));
        assert_eq!(world.upstream.read(&mut [0; 1]).await.unwrap(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn cut_stream_shows_nothing_that_was_not_acknowledged() {
        let (mut world, _recorder, _acknowledge) = recorded();
        world.upstream.write_all(&[0x82, 3, 1, b'h', b'i']).await.unwrap();
        let early = timeout(Duration::from_secs(1), world.caller.read(&mut [0; 1])).await;
        assert!(early.is_err());
        world
            .flow
            .send_replace(Flow::Cut(Cut::new(CutKind::Ended, "signed out")));
        let mut rest = Vec::new();
        world.caller.read_to_end(&mut rest).await.unwrap();
        assert_eq!((rest[0], rest[2]), (0x82, 3));
        assert!(rest.ends_with(b"\x03\xf0signed out"));
    }

    #[tokio::test]
    async fn bytes_go_on_as_they_come_where_the_stream_is_not_ended() {
        let (mut world, _recorder, acknowledge) = with_recorder(false);
        acknowledge.send_replace(Some(9));
        world.upstream.write_all(&[0x82, 9, 1]).await.unwrap();
        assert_eq!(read(&mut world.caller, 3).await, [0x82, 9, 1]);
    }

    #[tokio::test]
    async fn end_of_upstream_passes_on_what_is_left() {
        let (mut world, recorder, acknowledge) = recorded();
        acknowledge.send_replace(Some(9));
        world.upstream.write_all(&[0x82, 9, 1, b'h']).await.unwrap();
        drop(world.upstream);
        let mut rest = Vec::new();
        world.caller.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, [0x82, 9, 1, b'h']);
        assert_eq!(recorder.seen.lock().unwrap().len(), 1);
    }
}
