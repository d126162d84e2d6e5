#![doc = include_str!("../README.md")]

mod admission;
mod attempts;
mod children;
pub mod clients;
pub mod controller;
pub mod credential;
#[cfg(test)]
mod double;
pub mod election;
mod end;
mod ending;
pub mod error;
mod events;
#[cfg(test)]
mod examples;
mod issue;
mod lasted;
mod lock;
pub mod metrics;
pub mod objects;
mod progress;
pub mod provision;
mod quota;
mod records;
mod retry;
pub mod sessions;
mod shown;
mod status;
mod step;
mod stored;
pub mod sweep;
mod watches;

pub use attempts::{Attempt, Outcome, Part, SignIn, SignedIn, Waiter};
pub use clients::Clients;
pub use credential::{Credential, LONGEST_CREDENTIAL};
pub use election::{Election, Leadership};
pub use end::End;
pub use error::Error;
pub use lock::SessionLock;
pub use quota::DeviceQuotas;
pub use records::{NotRecorded, Records};
pub use retry::backoff;
pub use sessions::Sessions;
pub use stored::{StoredSession, Those};
pub use sweep::Swept;

use std::sync::Arc;

use jiff::Timestamp;

/// Tells the time. An argument, so that a test owns it.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;
