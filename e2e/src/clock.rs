//! The time of day of one server, which a test may set.

use std::path::PathBuf;
use std::{fs, io};

use crate::{Outcome, World};

/// A clock that goes as the machine's does, but for what it was set by.
#[derive(Debug)]
pub struct Clock {
    library: PathBuf,
    file: PathBuf,
}

// === impl Clock ===

impl Clock {
    /// One that goes right.
    pub fn new(world: &World) -> Outcome<Self> {
        let library = testbed::build(&["e2e-clock"])?.join("libe2e_clock.so");
        let file = world.new_folder("clock")?.join("offset");
        let clock = Self { library, file };
        clock.set(0)?;
        Ok(clock)
    }

    /// Sets it so many seconds ahead of the machine's, or behind. At once: no reader sees half of it.
    pub fn set(&self, seconds: i64) -> io::Result<()> {
        let new = self.file.with_extension("new");
        fs::write(&new, seconds.to_string())?;
        fs::rename(new, &self.file)
    }

    /// What a process must have in its environment to go by it.
    #[must_use]
    pub fn environment(&self) -> [(&'static str, &PathBuf); 2] {
        [("LD_PRELOAD", &self.library), ("CLOCK_OFFSET_FILE", &self.file)]
    }
}
