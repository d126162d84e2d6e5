//! The binary against a fake server: what users and scripts see.
#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    reason = "clippy.toml allows it in test functions, this also in what they call"
)]

#[path = "../../src/sys/test_requirements.rs"]
mod test_requirements;

mod access;
mod approvals;
mod audit;
mod clock;
mod cluster_info;
mod clusters;
mod completion;
mod config;
mod credential;
mod disk;
mod doctor;
mod elevation;
mod ephemeral_shell;
mod errors;
mod fake_server;
mod files;
mod first_sign_in;
mod gateway;
mod generate;
mod help;
mod home_of_another;
mod hostile;
mod inodes;
mod inside;
mod integration;
mod interactive;
mod kubeconfig;
mod kubectl;
mod login;
mod merge;
mod merge_list;
mod network;
mod own_contexts;
mod pipes;
mod places;
mod policy;
mod rare_kubeconfigs;
mod recordings;
mod replicas;
mod rules;
mod same_host;
mod session;
mod sessions;
mod shell;
mod shell_eval;
mod shells;
mod signout;
mod status;
mod tailscaled;
mod terminal;
mod tka;
mod unusable_answers;
