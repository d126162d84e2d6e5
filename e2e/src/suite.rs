//! What the test programs of this package have in common: tests as functions of the world, listed by module.

use std::error::Error;
use std::sync::{Arc, OnceLock};

use libtest_mimic::{Failed, Trial};

use crate::{Outcome, World};

/// A test.
pub type Test = fn(&World) -> Outcome;

/// A module's name, and its tests by name.
pub type Module = (&'static str, &'static [(&'static str, Test)]);

/// What a test program ends with when a test has failed.
pub const FAILED: u8 = 101;

/// Lists the tests of a module.
#[macro_export]
macro_rules! tests {
    ($($name:ident),+ $(,)?) => {
        /// The tests of this module, by name.
        pub(crate) const TESTS: &[(&str, $crate::suite::Test)] = &[$((stringify!($name), $name)),+];
    };
}

/// The tests of `modules`, to be run in `world` once it is there.
#[must_use]
pub fn trials(modules: &[Module], world: &Arc<OnceLock<World>>) -> Vec<Trial> {
    let tests = modules.iter().flat_map(|(module, tests)| {
        tests
            .iter()
            .map(move |(name, test)| (format!("{module}::{name}"), *test))
    });
    tests
        .map(|(name, test)| {
            let world = Arc::clone(world);
            Trial::test(name, move || {
                let world = world.get().ok_or("there is no testbed")?;
                test(world).map_err(|error| Failed::from(told(&*error)))
            })
        })
        .collect()
}

/// An error, and what caused it.
#[must_use]
pub fn told(error: &dyn Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}\n  because: {}", told(cause)),
        None => error.to_string(),
    }
}
