#![doc = include_str!("../README.md")]

#[cfg(feature = "audit")]
pub mod audit;
pub mod exec;
pub mod http;
pub mod kubeconfig;
pub mod recording;
#[cfg(feature = "resource")]
pub mod resource;
pub mod token;

pub use token::Token;
