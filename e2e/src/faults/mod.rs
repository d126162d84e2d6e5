//! What goes wrong between a server and its API server, on purpose.

mod cuts;
mod judge;
mod operation;
mod plan;
mod proxy;
mod race;
mod relay;
mod report;
mod request;
mod state;
pub mod trouble;

pub use cuts::{Cuts, Finding, Point, enough_reached};
pub use operation::{Expected, Operation};
pub use plan::{Fault, Moment, Which};
pub use proxy::{Armed, Proxy, Seen};
pub use race::{Race, races};
pub use report::Report;
pub use request::Request;
pub use state::{Found, State};
pub use trouble::Trouble;
