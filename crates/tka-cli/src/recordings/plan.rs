//! When which event of a recording is shown: pauses, seeking, speed and idle time. By value; the clock is an argument.
//!
//! There are two times. One is the recording's own. The other is how far the player is, in which no pause is longer than the idle limit.

use std::time::{Duration, Instant};

/// How far an arrow key goes.
const STRIDE: Duration = Duration::from_secs(5);
/// The slowest and the fastest speed.
pub(crate) const SPEEDS: std::ops::RangeInclusive<f64> = 0.01..=1000.0;

/// What a person wants.
#[cfg_attr(
    not(unix),
    allow(dead_code, reason = "keys are read where there is a terminal of that kind")
)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Key {
    Pause,
    Step,
    Forward,
    Back,
    Faster,
    Slower,
    Leave,
}

/// What is to be done with the next event.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Next {
    /// Show it.
    Show,
    /// Show it after so long.
    After(Duration),
    /// Nothing before a key is pressed.
    Wait,
}

/// What a key changes for the caller.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum KeyAction {
    /// Nothing: ask for the next event again.
    On,
    /// The recording begins again.
    Again,
    /// Playing ends.
    Leave,
}

/// Where a seek leads. All events before it are shown at once.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Seek {
    /// To a time of the recording.
    Recorded(Duration),
    /// To a time of the player.
    Played(Duration),
}

/// How far a recording is played.
#[derive(Clone, Debug)]
pub(crate) struct Playback {
    speed: f64,
    idle: Option<Duration>,
    /// The event that was shown last, by the recording's time and by the player's.
    last: (Duration, Duration),
    /// The player's time at `since`, or for as long as it stands still.
    played: Duration,
    since: Option<Instant>,
    seek: Option<Seek>,
    /// How many events are still to be shown of a player that stands still.
    steps: u32,
}

// === impl Playback ===

impl Playback {
    /// Playing begins at `now`, at `from` of the recording's time.
    pub(crate) fn new(speed: f64, idle: Option<Duration>, from: Option<Duration>, now: Instant) -> Self {
        Self {
            speed: speed.clamp(*SPEEDS.start(), *SPEEDS.end()),
            idle,
            last: Default::default(),
            played: Duration::ZERO,
            since: Some(now),
            seek: from.map(Seek::Recorded),
            steps: 0,
        }
    }

    /// No pause is longer than this, unless a limit is set already.
    pub(crate) fn limit_idle(&mut self, idle: Option<Duration>) {
        self.idle = self.idle.or(idle);
    }

    /// What is to be done with the next event, which was recorded at `recorded`.
    pub(crate) fn next(&mut self, recorded: Duration, now: Instant) -> Next {
        let at = self.played_at(recorded);
        let arrived = match self.seek {
            Some(Seek::Recorded(to)) if recorded <= to => return Next::Show,
            Some(Seek::Played(to)) if at <= to => return Next::Show,
            Some(Seek::Recorded(to)) => Some(self.played_at(to)),
            Some(Seek::Played(to)) => Some(to),
            None => None,
        };
        if let Some(arrived) = arrived {
            self.seek = None;
            self.is_at(arrived, now);
        }
        let played = self.played(now);
        match self.since {
            _ if self.steps > 0 || at <= played => Next::Show,
            Some(_) => Next::After(scaled(at.saturating_sub(played), 1.0 / self.speed)),
            None => Next::Wait,
        }
    }

    /// The event of `recorded` is shown.
    pub(crate) fn shows(&mut self, recorded: Duration, now: Instant) {
        let at = self.played_at(recorded);
        if self.steps > 0 {
            self.steps -= 1;
            self.is_at(at, now);
        }
        // Events are in their order, whatever a damaged recording says.
        self.last = (self.last.0.max(recorded), at);
    }

    /// The event of `recorded` has come after a wait for the server. The player has stood still for that.
    pub(crate) fn comes_late(&mut self, recorded: Duration, now: Instant) {
        let at = self.played_at(recorded);
        if self.seek.is_none() && at < self.played(now) {
            self.is_at(at, now);
        }
    }

    /// A key was pressed.
    pub(crate) fn press(&mut self, key: Key, now: Instant) -> KeyAction {
        match key {
            Key::Leave => return KeyAction::Leave,
            Key::Pause => {
                self.played = self.played(now);
                self.steps = 0;
                self.since = match self.since {
                    Some(_) => None,
                    None => Some(now),
                };
            }
            Key::Step if self.since.is_none() => self.steps = self.steps.saturating_add(1),
            Key::Step => {}
            Key::Faster => self.changes_speed(2.0, now),
            Key::Slower => self.changes_speed(0.5, now),
            Key::Forward => self.seek = Some(Seek::Played(self.goal(now).saturating_add(STRIDE))),
            Key::Back => {
                let to = self.goal(now).saturating_sub(STRIDE);
                self.last = Default::default();
                self.is_at(to, now);
                self.seek = Some(Seek::Played(to));
                return KeyAction::Again;
            }
        }
        KeyAction::On
    }

    /// The player's time of an event that follows the last one.
    fn played_at(&self, recorded: Duration) -> Duration {
        let pause = recorded.saturating_sub(self.last.0);
        let pause = self.idle.map_or(pause, |idle| pause.min(idle));
        self.last.1.saturating_add(pause)
    }

    /// How far the player is.
    fn played(&self, now: Instant) -> Duration {
        let since = self.since.map(|since| now.saturating_duration_since(since));
        self.played
            .saturating_add(scaled(since.unwrap_or_default(), self.speed))
    }

    /// How far it is, or will be when it has arrived where a key has sent it.
    fn goal(&self, now: Instant) -> Duration {
        match self.seek {
            Some(Seek::Played(to)) => to,
            Some(Seek::Recorded(_)) | None => self.played(now),
        }
    }

    fn is_at(&mut self, played: Duration, now: Instant) {
        self.played = played;
        self.since = self.since.map(|_| now);
    }

    fn changes_speed(&mut self, by: f64, now: Instant) {
        self.is_at(self.played(now), now);
        self.speed = (self.speed * by).clamp(*SPEEDS.start(), *SPEEDS.end());
    }
}

/// `time` as many times; as long as can be said where that is too long.
fn scaled(time: Duration, times: f64) -> Duration {
    Duration::try_from_secs_f64(time.as_secs_f64() * times).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests;
