#![doc = include_str!("../README.md")]

mod account_token;
mod admission;
pub mod approval;
mod approvals;
mod attempts;
mod break_glass;
mod child_uids;
mod children;
pub mod clients;
pub mod controller;
pub mod credential;
pub mod election;
mod emergency;
mod end_reason;
mod ends_in_progress;
pub mod error;
mod events;
#[cfg(test)]
mod examples;
#[cfg(test)]
mod fake_api_server;
mod issue;
pub mod live;
mod lock;
pub mod metrics;
mod objects;
mod observe;
mod on_use;
mod oversight;
mod per_session;
mod progress;
pub mod provision;
mod quota;
mod records;
mod retry;
mod roles;
mod session_ages;
mod session_cache;
pub mod sessions;
mod sign_out;
mod status;
mod step;
mod stored;
pub mod sweep;
mod termination;
mod tombstone;
mod waiting;
pub mod watch_activity;
mod watched;
mod watches;

pub use account_token::claims;
pub use approval::{ApprovalDecision, ApprovalRequest, RequestClosed, RequestState, Vote};
pub use approvals::{MAX_WAITING, NewRequest, RecordRequest, RequestOutcome};
pub use attempts::{Attempt, AttemptRole, Follower, Outcome, SignIn, SignedIn};
pub use clients::Clients;
pub use credential::{Credential, LONGEST_CREDENTIAL};
pub use election::{Election, Leadership};
pub use emergency::{EmergencySignIn, UnacknowledgedSignIns};
pub use end_reason::EndReason;
pub use error::Error;
pub use live::{LiveSession, SessionState};
pub use lock::SessionLock;
pub use observe::InjectTrace;
pub use oversight::SessionPage;
pub use per_session::PerSession;
pub use quota::{DeviceQuotas, SessionLimits};
pub use records::{NotRecorded, Records};
pub use retry::backoff;
pub use roles::BindableRoles;
pub use sessions::Sessions;
pub use sign_out::{SessionsWithoutAccess, SignOut};
pub use stored::{SessionFilter, StoredSession};
pub use sweep::SweepReport;
pub use waiting::{WaitingSignIn, WatchedWaiting};
pub use watch_activity::WatchActivity;
pub use watched::WatchedSessions;
pub use watches::{Heartbeat, WatchFailure, WatchHealth};

use std::sync::Arc;

use jiff::Timestamp;

/// Tells the time. An argument, so that a test owns it.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;
