#![doc = include_str!("../README.md")]

pub mod between;
pub mod brief;
pub mod caller;
pub mod certified;
pub mod clock;
pub mod cluster;
pub mod collector;
pub mod commands;
pub mod documented;
pub mod faults;
pub mod files;
pub mod guest;
mod images;
pub mod obstacle;
pub mod pair;
pub mod paused;
pub mod person;
pub mod process;
pub mod receiver;
pub mod records;
pub mod schemathesis;
pub mod secrets;
pub mod secure;
pub mod site;
pub mod suite;
pub mod wait;
pub mod wire;
pub mod world;

use std::error::Error;

pub use caller::{Answer, Caller};
pub use clock::Clock;
pub use cluster::{Cluster, Kind, is_refused};
pub use collector::Collector;
pub use guest::Guest;
pub use obstacle::Obstacle;
pub use pair::Pair;
pub use person::{Person, Said};
pub use process::Process;
pub use receiver::Receiver;
pub use records::Records;
pub use site::{Site, rule};
pub use world::World;

/// What a test, or a step of one, comes to. An error says what was expected and what was found.
pub type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// The users of the testbed, by login name.
pub mod user {
    /// Has the node `ALICE`.
    pub const ALICE: &str = "alice@example.com";
    /// Has the node `ALICE2`, and shares the local part of her name with [`ALICE`].
    pub const NAMESAKE: &str = "alice@other.example";
    /// Has the node `BOB`.
    pub const BOB: &str = "bob@example.com";
    /// Has the node `CAROL`.
    pub const CAROL: &str = "carol@example.com";
    /// Is the node `CI`, and no user.
    pub const CI: &str = "tag:ci";
}
