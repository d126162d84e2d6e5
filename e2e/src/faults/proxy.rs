//! A proxy between one server and the API server: it sees every request, and lets go wrong what it is told to.
//!
//! It ends TLS with the API server's own certificate and speaks TLS to it, so that the server notices nothing. What it forwards comes to its
//! end also when its sender is gone.

use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::HeaderMap;
use testbed::{ServerOptions, Testbed};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use super::plan::{Fault, Moment, Plan, Which};
use super::relay::{self, Relay};
use super::request::Request;
use crate::{Outcome, Site, World, wait};

/// A proxy. It ends with this.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    _runtime: Runtime,
}

/// A request that was seen.
#[derive(Clone, Debug)]
pub struct Seen {
    /// What it asked for.
    pub request: Request,
    /// When it arrived.
    pub at: Instant,
    /// Whether the API server heard of it.
    pub forwarded: bool,
    /// What it says of its trace: `traceparent`, `tracestate` and `baggage`.
    pub trace: HeaderMap,
}

/// A fault that goes with this.
#[derive(Debug)]
pub struct Armed<'p> {
    proxy: &'p Proxy,
    id: u64,
}

/// What the way to the API server is like.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Gate {
    /// As it should be.
    Open,
    /// Whatever arrives hangs, and is cut in the end.
    Hanging,
    /// Whatever is under way stands still and goes on in the end, as with a network that is away for a while.
    Still,
    /// The API server is away: connections are cut, and so are new ones.
    Away,
}

/// What the proxy and its connections know.
#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    pub(super) gate: watch::Sender<Gate>,
    /// How often all connections have been cut.
    pub(super) cuts: watch::Sender<u64>,
    /// How often all connections have been stranded.
    pub(super) strandings: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    seen: Vec<Seen>,
    plans: Vec<Plan>,
    next_plan: u64,
    /// Requests that were forwarded and not answered yet.
    in_flight: usize,
}

/// A request that was forwarded, until it is answered.
#[derive(Debug)]
pub(super) struct InFlight(Arc<Shared>);

// === impl Proxy ===

impl Proxy {
    /// A proxy before the API server of `testbed`.
    pub fn before(testbed: &Testbed) -> Outcome<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            changed: Condvar::new(),
            gate: watch::Sender::new(Gate::Open),
            cuts: watch::Sender::new(0),
            strandings: watch::Sender::new(0),
        });
        let relay = Relay::new(testbed, Arc::clone(&shared))?;
        runtime.spawn(relay::serve(listener, Arc::new(relay)));
        Ok(Self {
            address,
            shared,
            _runtime: runtime,
        })
    }

    /// A server of that name that reaches the API server through this.
    pub fn site<'w>(&self, world: &'w World, name: &str) -> Outcome<Site<'w>> {
        self.site_with(world, ServerOptions::new(name))
    }

    /// A server that reaches the API server through this.
    pub fn site_with<'w>(&self, world: &'w World, options: ServerOptions) -> Outcome<Site<'w>> {
        world.site_with(ServerOptions {
            api_server: Some(format!("https://{}", self.address)),
            ..options
        })
    }

    /// Lets something go wrong, for as long as what is returned lives.
    #[must_use]
    pub fn arm(&self, which: Which, fault: Fault) -> Armed<'_> {
        let mut state = self.shared.state();
        state.next_plan += 1;
        let id = state.next_plan;
        state.plans.push(Plan::new(id, which, fault));
        Armed { proxy: self, id }
    }

    /// Every request since [`forget`](Self::forget), in the order of their arrival.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.state().seen.clone()
    }

    /// Forgets the requests so far.
    pub fn forget(&self) {
        self.shared.state().seen.clear();
    }

    /// Waits until a request is seen, or was since [`forget`](Self::forget).
    pub fn wait_seen(&self, within: Duration, matches: impl Fn(&Request) -> bool) -> Outcome {
        let seen = |state: &State| state.seen.iter().any(|seen| matches(&seen.request));
        self.shared.wait("the request", within, seen)
    }

    /// Waits until nothing is under way to the API server.
    pub fn wait_idle(&self) -> Outcome {
        let idle = |state: &State| state.in_flight == 0;
        self.shared.wait("the answer to what is under way", wait::LIMIT, idle)
    }

    /// The API server is away: no connection is answered.
    pub fn go_away(&self) {
        self.shared.gate.send_replace(Gate::Away);
    }

    /// The network to the API server stands still: nothing gets through, and no side is told.
    pub fn stand_still(&self) {
        self.shared.gate.send_replace(Gate::Still);
    }

    /// The API server is there again. What hung until now is cut; what stood still goes on.
    pub fn let_go(&self) {
        self.shared.gate.send_replace(Gate::Open);
    }

    /// Cuts all connections that there are, those of watches too.
    pub fn cut_all(&self) {
        self.shared.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// All connections that there are lead nowhere any more, and no side is told, as when something in between has forgotten them.
    pub fn strand(&self) {
        self.shared.strandings.send_modify(|strandings| *strandings += 1);
    }
}

// === impl Armed ===

impl Armed<'_> {
    /// How many requests were struck.
    #[must_use]
    pub fn hits(&self) -> usize {
        self.hits_in(&self.proxy.shared.state())
    }

    /// Waits until `count` requests have been struck.
    pub fn wait_hits(&self, count: usize, within: Duration) -> Outcome {
        let enough = |state: &State| self.hits_in(state) >= count;
        self.proxy.shared.wait("the request to be struck", within, enough)
    }

    fn hits_in(&self, state: &State) -> usize {
        let plan = state.plans.iter().find(|plan| plan.id == self.id);
        plan.map_or(0, |plan| plan.hits)
    }
}

impl Drop for Armed<'_> {
    fn drop(&mut self) {
        self.proxy.shared.state().plans.retain(|plan| plan.id != self.id);
    }
}

// === impl Shared ===

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self, what: &str, within: Duration, is_so: impl Fn(&State) -> bool) -> Outcome {
        let (state, waited) = self
            .changed
            .wait_timeout_while(self.state(), within, |state| !is_so(state))
            .unwrap_or_else(PoisonError::into_inner);
        drop(state);
        if waited.timed_out() {
            return Err(format!("waited {within:?} for {what}, in vain").into());
        }
        Ok(())
    }

    /// Notes a request, and says what goes wrong with it, and by which plan.
    pub(super) fn strike(&self, request: &Request, trace: HeaderMap) -> Option<(u64, Fault)> {
        let mut state = self.state();
        let mut plans = state.plans.iter_mut();
        let struck = plans.find_map(|plan| Some((plan.id, plan.strike(request)?)));
        let forwarded = match struck {
            None | Some((_, Fault::Still)) => true,
            Some((_, Fault::Cut(moment) | Fault::Hang(moment))) => moment == Moment::After,
            Some((
                _,
                Fault::Answer(..) | Fault::Say(..) | Fault::Busy(_) | Fault::Count | Fault::Silence | Fault::Expired,
            )) => false,
        };
        state.seen.push(Seen {
            request: request.clone(),
            at: Instant::now(),
            forwarded,
            trace,
        });
        drop(state);
        self.changed.notify_all();
        struck
    }

    /// Notes that a plan has struck a request: now, and not when it was asked.
    pub(super) fn struck(&self, id: u64) {
        if let Some(plan) = self.state().plans.iter_mut().find(|plan| plan.id == id) {
            plan.hits += 1;
        }
        self.changed.notify_all();
    }

    /// Notes that a request is forwarded.
    pub(super) fn forward(self: &Arc<Self>) -> InFlight {
        self.state().in_flight += 1;
        InFlight(Arc::clone(self))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.state().in_flight -= 1;
        self.0.changed.notify_all();
    }
}
