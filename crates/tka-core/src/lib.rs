#![doc = include_str!("../README.md")]

pub mod api_server_url;
pub mod applicable_rules;
pub mod approval;
pub mod approver;
pub mod ca_bundle;
pub mod caller;
pub mod choice;
mod digest;
pub mod escalation;
pub mod fields;
mod instance;
pub mod names;
pub mod oversight;
pub mod period;
mod private_key;
pub mod refusal;
pub mod request;
pub mod revocation;
pub mod rule;
pub mod scope;
pub mod session;
pub mod text;

#[cfg(test)]
mod fuzz;

pub use api_server_url::{ApiServerUrl, ApiServerUrlError, is_host_name};
pub use applicable_rules::ApplicableRules;
pub use approval::Approval;
pub use approver::{CannotApprove, may_decide};
pub use ca_bundle::{CaBundle, CaBundleError};
pub use caller::{Caller, CallerKey, Device, Identity, UserId};
pub use choice::RuleSelector;
pub use escalation::{Escalation, MinorVersion, RoleRule, escalations};
pub use instance::instance;
pub use names::{KubeconfigName, Namespace, RoleName, RuleName, is_object_name};
pub use oversight::{ApprovableRules, Oversight, OversightError, SessionOversight};
pub use period::Period;
pub use refusal::Refusal;
pub use request::{Limits, Reason, Request, SessionLabel};
pub use revocation::{DeviceState, Revocation, Verdict};
pub use rule::{Access, RecordingMode, Rule, RuleKey, SignInMode};
pub use scope::{MAX_NAMESPACES, Namespaces, Scope};
pub use session::{Session, SessionName, SignInTrigger};
pub use text::{is_unprintable, shorten, shorten_to};
