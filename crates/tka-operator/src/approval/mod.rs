//! Sign-ins that wait for approval.
//!
//! A sign-in that would begin a session waits on a `TkaSignin` of its own, which holds no session and is found by none who looks for one. One that would
//! extend a session waits in an annotation of that session, which goes on as it was. Everything that is decided is written on the version of the object
//! that it was decided about, so that of two decisions at once the second is made anew.

mod request;

pub use request::{ApprovalDecision, ApprovalRequest, RequestClosed, RequestState, Vote};
