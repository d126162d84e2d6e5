#![doc = include_str!("../README.md")]

pub mod api;
pub mod audit;
pub mod bare;
pub mod caller;
pub mod cost;
pub mod floor;
pub mod gateway;
pub mod ground;
pub mod load;
pub mod login;
pub mod people;
pub mod plot;
pub mod process;
pub mod prometheus;
pub mod report;
pub mod scale;
pub mod server;
pub mod site;
pub mod stand_in;
pub mod stats;
pub mod table;

use std::error::Error;

/// What a measurement comes to. An error says what happened, why, and what to do.
pub type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;
