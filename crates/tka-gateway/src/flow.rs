//! Whether bytes of a session may move.

use std::sync::Arc;

use thiserror::Error;
use tokio::sync::watch;

/// Whether bytes of a session may move at the moment.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Flow {
    /// They may.
    Open,
    /// They may for a while yet: the server stops. What its client begins anew by itself, a watch, comes to its end.
    Draining,
    /// They wait: it is not known whether the session still stands.
    Held,
    /// They may not, and never will.
    Cut(Cut),
}

/// Why a session's streams were cut. A person reads it where the protocol can say it.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("{why}")]
pub struct Cut {
    why: Arc<str>,
    kind: CutKind,
}

/// What a cut says of the session.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CutKind {
    /// It has ended.
    Ended,
    /// It is not known whether it stands.
    Unknown,
    /// Nothing: the server stops.
    Stop,
    /// Nothing: what goes over it cannot be recorded.
    Unrecorded,
}

/// What every stream of a session asks before it moves a byte.
#[derive(Clone, Debug)]
pub struct Gate {
    flow: watch::Receiver<Flow>,
    is_watch: bool,
}

/// Why a stream goes no further.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum StopReason {
    /// It is cut.
    #[error(transparent)]
    Cut(#[from] Cut),
    /// It is a watch, and is to be begun anew elsewhere.
    #[error("the server stops; watch again")]
    Drained,
}

// === impl Cut ===

impl Cut {
    /// Streams are cut because of `why`, which is of that kind.
    #[must_use]
    pub fn new(kind: CutKind, why: &str) -> Self {
        let why = why.into();
        Self { why, kind }
    }

    /// What it says of the session.
    #[must_use]
    pub fn kind(&self) -> CutKind {
        self.kind
    }
}

// === impl Gate ===

impl Gate {
    /// A gate that follows `flow`.
    #[must_use]
    pub fn new(flow: watch::Receiver<Flow>) -> Self {
        let is_watch = false;
        Self { flow, is_watch }
    }

    /// The same for a watch, which ends when the server begins to stop.
    #[must_use]
    pub fn of_watch(mut self) -> Self {
        self.is_watch = true;
        self
    }

    /// Returns when bytes may move; an error when they never will.
    pub async fn open(&mut self) -> Result<(), StopReason> {
        loop {
            // Without what decides, nothing would tell of an end.
            let is_alone = self.flow.has_changed().is_err();
            match &*self.flow.borrow_and_update() {
                Flow::Cut(cut) if cut.kind == CutKind::Stop && self.is_watch => return Err(StopReason::Drained),
                Flow::Cut(cut) => return Err(cut.clone().into()),
                Flow::Draining if self.is_watch => return Err(StopReason::Drained),
                Flow::Open | Flow::Draining if is_alone => return Err(gone()),
                Flow::Open | Flow::Draining => return Ok(()),
                Flow::Held => {}
            }
            self.flow.changed().await.map_err(|_| gone())?;
        }
    }

    /// Returns when bytes may not move any more.
    pub async fn closes(&mut self) {
        while self.may_move() {
            if self.flow.changed().await.is_err() {
                return;
            }
        }
    }

    fn may_move(&mut self) -> bool {
        match *self.flow.borrow_and_update() {
            Flow::Open => true,
            Flow::Draining => !self.is_watch,
            Flow::Held | Flow::Cut(_) => false,
        }
    }

    /// Runs `work` while bytes may move. It is dropped when they may not: what it had begun is lost.
    pub async fn run<T>(&mut self, work: impl Future<Output = T>) -> Result<T, StopReason> {
        let mut work = std::pin::pin!(work);
        loop {
            self.open().await?;
            tokio::select! {
                biased;
                () = self.closes() => {}
                done = &mut work => return Ok(done),
            }
        }
    }
}

fn gone() -> StopReason {
    Cut::new(CutKind::Stop, "the server stops").into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[tokio::test]
    async fn gate_follows_its_flow() {
        let (flow, receiver) = watch::channel(Flow::Open);
        let mut gate = Gate::new(receiver);
        assert_eq!(gate.open().now_or_never(), Some(Ok(())));
        assert_eq!(gate.closes().now_or_never(), None);
        flow.send_replace(Flow::Held);
        assert_eq!(gate.closes().now_or_never(), Some(()));
        assert_eq!(gate.open().now_or_never(), None);
        let cut = Cut::new(CutKind::Ended, "it ended");
        flow.send_replace(Flow::Cut(cut.clone()));
        assert_eq!(gate.open().now_or_never(), Some(Err(cut.into())));
    }

    #[tokio::test]
    async fn draining_ends_watches_and_nothing_else() {
        let (flow, receiver) = watch::channel(Flow::Open);
        let gate = Gate::new(receiver);
        let (mut watch, mut other) = (gate.clone().of_watch(), gate);
        assert_eq!(watch.closes().now_or_never(), None);
        flow.send_replace(Flow::Draining);
        assert_eq!(watch.closes().now_or_never(), Some(()));
        assert_eq!(watch.open().await, Err(StopReason::Drained));
        assert_eq!(other.closes().now_or_never(), None);
        assert_eq!(other.open().await, Ok(()));
        let cut = Cut::new(CutKind::Stop, "it stops");
        flow.send_replace(Flow::Cut(cut.clone()));
        assert_eq!(watch.open().await, Err(StopReason::Drained));
        assert_eq!(other.open().await, Err(cut.into()));
    }

    #[tokio::test]
    async fn gate_without_one_who_decides_is_shut() {
        for last in [Flow::Held, Flow::Open] {
            let (flow, receiver) = watch::channel(last);
            let mut gate = Gate::new(receiver);
            drop(flow);
            assert!(gate.open().await.is_err());
            assert!(gate.run(std::future::pending::<()>()).await.is_err());
        }
    }

    #[tokio::test]
    async fn work_waits_while_held() {
        let (flow, receiver) = watch::channel(Flow::Held);
        let mut gate = Gate::new(receiver);
        let mut run = Box::pin(async move { gate.run(std::future::ready(7)).await });
        assert_eq!((&mut run).now_or_never(), None);
        flow.send_replace(Flow::Open);
        assert_eq!(run.await, Ok(7));
    }
}
