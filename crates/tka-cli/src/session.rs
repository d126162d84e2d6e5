//! Sign-in and sign-out, and what they write on this machine.

mod approval;
pub(crate) mod committed;
pub(crate) mod credential;
pub(crate) mod elevation;
#[cfg(unix)]
pub(crate) mod ephemeral;
pub(crate) mod export;
pub(crate) mod first_sign_in;
pub(crate) mod kubeconfig_options;
pub(crate) mod login_request;
pub(crate) mod notices;
pub(crate) mod persist;
pub(crate) mod provisioning;
pub(crate) mod replicas;
pub(crate) mod sign_in;
pub(crate) mod sign_out;
