//! Sign-ins that wait for approval.
//!
//! A sign-in that would begin a session waits on a `TkaSignin` of its own. That object holds no session, and a search for sessions does not find it.
//! One that would extend a session waits in an annotation of that session, which goes on as it was. Each decision is written on the version of the
//! object that it is about. Of two decisions at once, the second is made anew.

mod request;

pub use request::{ApprovalDecision, ApprovalRequest, RequestClosed, RequestState, Vote};
