//! Whether bytes of a session may move.

use std::sync::Arc;

use thiserror::Error;
use tokio::sync::watch;

/// Whether bytes of a session may move at the moment.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Flow {
    /// They may.
    Open,
    /// They wait: it is not known whether the session still stands.
    Held,
    /// They may not, and never will.
    Cut(Cut),
}

/// Why a session's streams were cut. A person reads it where the protocol can say it.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("{0}")]
pub struct Cut(Arc<str>);

/// What every stream of a session asks before it moves a byte.
#[derive(Clone, Debug)]
pub struct Gate(watch::Receiver<Flow>);

// === impl Cut ===

impl Cut {
    /// Streams are cut because of `why`.
    #[must_use]
    pub fn new(why: &str) -> Self {
        Self(why.into())
    }
}

// === impl Gate ===

impl Gate {
    /// A gate that follows `flow`.
    #[must_use]
    pub fn new(flow: watch::Receiver<Flow>) -> Self {
        Self(flow)
    }

    /// Returns when bytes may move; an error when they never will.
    pub async fn open(&mut self) -> Result<(), Cut> {
        loop {
            // Without what decides, nothing would tell of an end.
            let is_alone = self.0.has_changed().is_err();
            match &*self.0.borrow_and_update() {
                Flow::Cut(cut) => return Err(cut.clone()),
                Flow::Open if is_alone => return Err(gone()),
                Flow::Open => return Ok(()),
                Flow::Held => {}
            }
            self.0.changed().await.map_err(|_| gone())?;
        }
    }

    /// Returns when bytes may not move any more.
    pub async fn closes(&mut self) {
        while *self.0.borrow_and_update() == Flow::Open {
            if self.0.changed().await.is_err() {
                return;
            }
        }
    }

    /// Runs `work` while bytes may move. It is dropped when they may not: what it had begun is lost.
    pub async fn run<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Cut> {
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

fn gone() -> Cut {
    Cut::new("the server stops")
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
        let cut = Cut::new("it ended");
        flow.send_replace(Flow::Cut(cut.clone()));
        assert_eq!(gate.open().now_or_never(), Some(Err(cut)));
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
