//! What is to go wrong, and when.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use super::request::Request;

/// On which side of being carried out a request is cut.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Moment {
    /// The API server never hears of it.
    Before,
    /// The API server has carried it out, and its answer does not arrive.
    After,
}

/// What goes wrong with a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    /// Its connection is cut.
    Cut(Moment),
    /// It hangs, and everything else with it, until [`Proxy::let_go`](super::Proxy::let_go): time for a server to be killed
    /// at this very moment.
    Hang(Moment),
    /// It is answered, and not forwarded: a status, and after how many seconds to try again.
    Answer(u16, Option<u32>),
    /// It is answered with a status and this body, and not forwarded.
    Say(u16, &'static str),
    /// From it on, the network stands still until [`Proxy::let_go`](super::Proxy::let_go). Then it is forwarded as if nothing had happened.
    Still,
    /// It is never answered, and no side is told.
    Silence,
    /// It is answered 429 and not in JSON, as by what is before an API server. After how many seconds to try again is in the header alone.
    Busy(u32),
    /// It is answered 101, and what it opened counts: a WebSocket of exec that writes a number a line until it is closed.
    Count,
    /// A watch is told in its stream that what it asks for has been forgotten
    /// (<https://kubernetes.io/docs/reference/using-api/api-concepts/#410-gone-responses>).
    Expired,
}

/// Which requests something is to go wrong with.
#[derive(Clone)]
pub struct Which {
    matches: Arc<dyn Fn(&Request) -> bool + Send + Sync>,
    skip: usize,
    times: usize,
}

/// A fault that waits for its requests.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) id: u64,
    which: Which,
    fault: Fault,
    /// How many requests it has struck.
    pub(super) hits: usize,
}

// === impl Which ===

impl Which {
    /// The first request for which `matches` holds.
    pub fn first(matches: impl Fn(&Request) -> bool + Send + Sync + 'static) -> Self {
        Self {
            matches: Arc::new(matches),
            skip: 0,
            times: 1,
        }
    }

    /// The `number`th request that is like `request`; the first is 1.
    #[must_use]
    pub fn nth(request: &Request, number: usize) -> Self {
        let request = request.clone();
        Self {
            skip: number.saturating_sub(1),
            ..Self::first(move |other| *other == request)
        }
    }

    /// So many of them.
    #[must_use]
    pub fn times(self, times: usize) -> Self {
        Self { times, ..self }
    }
}

impl fmt::Debug for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Which")
            .field("skip", &self.skip)
            .field("times", &self.times)
            .finish_non_exhaustive()
    }
}

// === impl Plan ===

impl Plan {
    pub(super) fn new(id: u64, which: Which, fault: Fault) -> Self {
        Self {
            id,
            which,
            fault,
            hits: 0,
        }
    }

    /// What goes wrong with this request, if it is one of those.
    pub(super) fn strike(&mut self, request: &Request) -> Option<Fault> {
        if self.which.times == 0 || !(self.which.matches)(request) {
            return None;
        }
        if self.which.skip > 0 {
            self.which.skip -= 1;
            return None;
        }
        self.which.times -= 1;
        Some(self.fault)
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Before => "before",
            Self::After => "after",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(verb: &'static str) -> Request {
        Request {
            verb,
            resource: "tkasignins".to_owned(),
            detail: None,
        }
    }

    #[test]
    fn a_fault_strikes_as_often_as_it_should_and_not_before() {
        let cut = Fault::Cut(Moment::After);
        let mut plan = Plan::new(1, Which::nth(&request("get"), 2), cut);
        let struck = ["get", "patch", "get", "get"].map(|verb| plan.strike(&request(verb)));
        assert_eq!(struck, [None, None, Some(cut), None]);

        let answer = Fault::Answer(503, None);
        let mut plan = Plan::new(2, Which::first(|request| request.verb == "get").times(2), answer);
        let struck = ["get", "patch", "get", "get"].map(|verb| plan.strike(&request(verb)));
        assert_eq!(struck, [Some(answer), None, Some(answer), None]);
    }
}
