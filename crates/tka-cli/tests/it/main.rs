//! The binary against a server double: what users and scripts see.
#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    reason = "clippy.toml allows it in test functions, this also in what they call"
)]

#[path = "../../src/sys/untested.rs"]
mod untested;

mod access;
mod clock;
mod cluster_info;
mod clusters;
mod completion;
mod config;
mod credential;
mod disk;
mod doctor;
mod double;
mod errors;
mod evaluated;
mod files;
mod generate;
mod help;
mod hostile;
mod integration;
mod interactive;
mod kubeconfig;
mod login;
mod merge;
mod network;
mod own_shell;
mod rules;
mod session;
mod sessions;
mod shell;
mod shells;
mod signout;
mod status;
mod tailscaled;
mod terminal;
mod tka;
