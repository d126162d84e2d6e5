#![doc = include_str!("../README.md")]

pub mod api_server_url;
pub mod ca_bundle;
pub mod caller;
pub mod fields;
pub mod grant;
pub mod period;
pub mod refusal;
pub mod request;
pub mod revocation;
pub mod rule;
pub mod scope;
pub mod session;

#[cfg(test)]
mod fuzz;

pub use api_server_url::{ApiServerUrl, ApiServerUrlError};
pub use ca_bundle::{CaBundle, CaBundleError};
pub use caller::{Caller, CallerKey, Device, Identity, UserId};
pub use grant::Grant;
pub use period::Period;
pub use refusal::Refusal;
pub use request::{Choice, Limits, Request};
pub use revocation::{Present, Revocation, Verdict};
pub use rule::{Namespace, RoleName, Rule, RuleKey, RuleName, shorten, shorten_to};
pub use scope::{MAX_NAMESPACES, Namespaces, Scope};
pub use session::{Reason, Session, SessionLabel, SessionName};
