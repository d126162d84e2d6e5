#![doc = include_str!("../README.md")]

pub mod backlog;
pub mod cast;
pub mod channels;
pub mod frames;
pub mod header;
pub mod name;
pub mod reader;
pub mod recorder;
pub mod seal;
pub mod sink;
pub mod text;

pub use backlog::Backlog;
pub use cast::Cast;
pub use header::RecordingMetadata;
pub use name::RecordingName;
pub use reader::{Content, Details, Reader};
pub use recorder::{Limits, Mode, Outcome, RecordError, Recorder};
pub use seal::Recipients;
pub use sink::{Encoding, Sink, SinkError};
