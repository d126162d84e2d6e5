//! Sessions so short that a test can wait for their end, and long enough for what it does before.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::Outcome;

/// Long enough on a machine with nothing else to do.
const SHORTEST: Duration = Duration::from_secs(4);
/// Long enough on any machine.
const LONGEST: Duration = Duration::from_secs(108);
/// The end of a session is a whole second, rounded down: it may come that much before its period is over.
const ROUNDING: Duration = Duration::from_secs(1);
/// How much longer each try is than the one before.
const FACTOR: u32 = 3;

/// Does what must be done before a session ends. The first session is one of four seconds. Where the machine was too busy for that, longer
/// and longer ones follow. So what a test finds does not depend on how fast it came to look.
///
/// `grant` puts a rule with the given period into force. `act` signs in through it, does what there is to do, and returns before what time
/// that had to be done. It may be called several times; an error counts if the session cannot have been over by then.
pub fn in_time<T>(grant: impl Fn(&str) -> Outcome, mut act: impl FnMut() -> Outcome<(T, Timestamp)>) -> Outcome<T> {
    let mut period = SHORTEST;
    loop {
        grant(&format!("{}s", period.as_secs()))?;
        let started = Instant::now();
        let acted = act();
        let is_late = match &acted {
            Ok((_, deadline)) => Timestamp::now() >= *deadline,
            Err(_) => started.elapsed() + ROUNDING >= period,
        };
        if !is_late {
            return acted.map(|(done, _)| done);
        }
        eprintln!("{:?} was too long for a session of {period:?}", started.elapsed());
        if period >= LONGEST {
            let (_, deadline) = acted?;
            return Err(format!("it was not done by {deadline}, with a session of {period:?}").into());
        }
        period *= FACTOR;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;

    fn periods(mut act: impl FnMut(usize) -> Outcome<((), Timestamp)>) -> (Vec<String>, Outcome) {
        let periods = RefCell::new(Vec::new());
        let tries = Cell::new(0);
        let grant = |period: &str| {
            periods.borrow_mut().push(period.to_owned());
            Ok(())
        };
        let done = in_time(grant, || {
            tries.set(tries.get() + 1);
            act(tries.get())
        });
        (periods.into_inner(), done)
    }

    #[test]
    fn what_comes_too_late_is_tried_with_a_longer_session() {
        let (now, hour) = (Timestamp::now(), Duration::from_hours(1));
        let (requested, done) = periods(|tries| Ok(((), if tries < 3 { now } else { now + hour })));
        assert_eq!(requested, ["4s", "12s", "36s"]);
        assert!(done.is_ok());
        let (requested, done) = periods(|_| Ok(((), now)));
        assert_eq!(requested, ["4s", "12s", "36s", "108s"]);
        assert!(done.is_err());
    }

    #[test]
    fn error_in_time_counts() {
        let (requested, done) = periods(|_| Err("no".into()));
        assert_eq!((requested.len(), done.unwrap_err().to_string()), (1, "no".to_owned()));
    }
}
