use super::*;

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// A player, its clock, and a recording with an event at each of these seconds.
struct PlayerFixture {
    plan: Playback,
    began: Instant,
    now: Duration,
    events: Vec<f64>,
    next: usize,
}

impl PlayerFixture {
    fn new(speed: f64, idle: Option<f64>, from: Option<f64>, events: &[f64]) -> Self {
        let began = Instant::now();
        Self {
            plan: Playback::new(speed, idle.map(seconds), from.map(seconds), began),
            began,
            now: Duration::ZERO,
            events: events.to_vec(),
            next: 0,
        }
    }

    fn now(&self) -> Instant {
        self.began + self.now
    }

    /// Which events are shown, and when, up to `end` seconds of the clock.
    fn until(&mut self, end: f64) -> Vec<(f64, f64)> {
        let mut shown = Vec::new();
        while let Some(at) = self.events.get(self.next).copied() {
            match self.plan.next(seconds(at), self.now()) {
                Next::Show => {
                    self.plan.shows(seconds(at), self.now());
                    shown.push((self.now.as_secs_f64(), at));
                    self.next += 1;
                }
                Next::After(wait) if self.now + wait <= seconds(end) => self.now += wait,
                Next::After(_) | Next::Wait => break,
            }
        }
        self.now = self.now.max(seconds(end));
        shown
    }

    fn press(&mut self, key: Key) -> KeyAction {
        let turn = self.plan.press(key, self.now());
        if turn == KeyAction::Again {
            self.next = 0;
        }
        turn
    }
}

#[test]
fn events_come_at_their_times() {
    let mut played = PlayerFixture::new(1.0, None, None, &[0.5, 1.0, 3.0]);
    assert_eq!(played.until(0.75), [(0.5, 0.5)]);
    assert_eq!(played.until(10.0), [(1.0, 1.0), (3.0, 3.0)]);
}

#[test]
fn speed_divides_and_changes_on_the_way() {
    let mut played = PlayerFixture::new(2.0, None, None, &[2.0, 4.0, 8.0, 9.0]);
    assert_eq!(played.until(1.0), [(1.0, 2.0)]);
    assert_eq!(played.press(Key::Slower), KeyAction::On);
    assert_eq!(played.until(3.0), [(3.0, 4.0)]);
    played.press(Key::Faster);
    played.press(Key::Faster);
    assert_eq!(played.until(4.25), [(4.0, 8.0), (4.25, 9.0)]);
    // However often one presses.
    let mut played = PlayerFixture::new(f64::INFINITY, None, None, &[1000.0]);
    for _ in 0..100 {
        played.press(Key::Faster);
    }
    assert_eq!(played.until(1.0), [(1.0, 1000.0)]);
    let mut played = PlayerFixture::new(-3.0, None, None, &[0.01]);
    assert_eq!(played.until(1.0), [(1.0, 0.01)]);
}

#[test]
fn pauses_of_the_recording_are_cut_to_the_limit() {
    let mut played = PlayerFixture::new(1.0, Some(2.0), None, &[1.0, 3601.0, 3602.0, 9000.0]);
    assert_eq!(
        played.until(10.0),
        [(1.0, 1.0), (3.0, 3601.0), (4.0, 3602.0), (6.0, 9000.0)]
    );
    // The header's counts where none is set.
    let mut played = PlayerFixture::new(1.0, None, None, &[100.0]);
    played.plan.limit_idle(Some(seconds(1.0)));
    played.plan.limit_idle(Some(seconds(50.0)));
    assert_eq!(played.until(2.0), [(1.0, 100.0)]);
}

#[test]
fn paused_player_stands_still_and_steps() {
    let mut played = PlayerFixture::new(1.0, None, None, &[1.0, 2.0, 5.0, 6.0]);
    played.until(1.5);
    played.press(Key::Pause);
    assert!(played.plan.since.is_none());
    assert_eq!(played.until(100.0), []);
    played.press(Key::Step);
    assert_eq!(played.until(101.0), [(100.0, 2.0)]);
    played.press(Key::Step);
    assert_eq!(played.until(102.0), [(101.0, 5.0)]);
    played.press(Key::Pause);
    assert_eq!(played.until(110.0), [(103.0, 6.0)]);
    // As often as it was pressed, however late the events come.
    let mut played = PlayerFixture::new(1.0, None, None, &[1.0, 2.0, 3.0]);
    played.press(Key::Pause);
    played.press(Key::Step);
    played.press(Key::Step);
    assert_eq!(played.until(1.0), [(0.0, 1.0), (0.0, 2.0)]);
    // A step is for a player that stands still.
    let mut played = PlayerFixture::new(1.0, None, None, &[1.0, 2.0]);
    played.press(Key::Step);
    assert_eq!(played.until(1.5), [(1.0, 1.0)]);
}

#[test]
fn playing_begins_at_a_time_of_the_recording() {
    let mut played = PlayerFixture::new(1.0, Some(2.0), Some(100.0), &[1.0, 99.0, 101.0, 500.0]);
    // What was before is shown at once.
    assert_eq!(played.until(0.0), [(0.0, 1.0), (0.0, 99.0)]);
    assert_eq!(played.until(9.0), [(1.0, 101.0), (3.0, 500.0)]);
    let mut played = PlayerFixture::new(1.0, None, Some(1000.0), &[1.0, 99.0]);
    assert_eq!(played.until(0.0), [(0.0, 1.0), (0.0, 99.0)]);
}

#[test]
fn arrows_go_back_and_forward_by_five_seconds() {
    let mut played = PlayerFixture::new(1.0, None, None, &[1.0, 2.0, 6.0, 8.0, 20.0]);
    assert_eq!(played.until(1.0).len(), 1);
    assert_eq!(played.press(Key::Forward), KeyAction::On);
    assert_eq!(played.until(1.0), [(1.0, 2.0), (1.0, 6.0)]);
    assert_eq!(played.until(3.0), [(3.0, 8.0)]);
    // At 8 seconds; back to 3.
    assert_eq!(played.press(Key::Back), KeyAction::Again);
    assert_eq!(played.until(3.0), [(3.0, 1.0), (3.0, 2.0)]);
    assert_eq!(played.until(6.0), [(6.0, 6.0)]);
    // Beyond the beginning, and twice before the recording has come again.
    assert_eq!(
        (played.press(Key::Back), played.press(Key::Back)),
        (KeyAction::Again, KeyAction::Again)
    );
    assert_eq!(played.until(7.0), [(7.0, 1.0)]);
    // Several strides at once, and also of a player that stands still.
    played.press(Key::Pause);
    for _ in 0..3 {
        played.press(Key::Forward);
    }
    assert_eq!(played.until(8.0), [(7.0, 2.0), (7.0, 6.0), (7.0, 8.0)]);
    assert!(played.plan.since.is_none());
    played.press(Key::Pause);
    assert_eq!(played.until(100.0), [(12.0, 20.0)]);
    assert_eq!(played.press(Key::Leave), KeyAction::Leave);
}

#[test]
fn server_that_is_slow_does_not_make_what_follows_hurry() {
    let mut played = PlayerFixture::new(1.0, None, None, &[1.0, 2.0, 3.0]);
    played.until(1.0);
    // Ten seconds later the next one comes.
    played.now = seconds(11.0);
    played.plan.comes_late(seconds(2.0), played.now());
    assert_eq!(played.until(20.0), [(11.0, 2.0), (12.0, 3.0)]);
}

#[test]
fn times_that_no_recording_has_break_nothing() {
    let mut played = PlayerFixture::new(0.01, None, Some(1e18), &[0.0]);
    assert_eq!(played.until(0.0), [(0.0, 0.0)]);
    let far = Duration::from_secs(u64::MAX);
    let mut plan = Playback::new(0.01, None, None, Instant::now());
    assert_eq!(plan.next(far, Instant::now()), Next::After(Duration::MAX));
    plan.shows(far, Instant::now());
    plan.press(Key::Forward, Instant::now());
    plan.press(Key::Pause, Instant::now());
    plan.press(Key::Step, Instant::now());
    // Of a damaged recording, whose time goes back.
    assert_eq!(plan.next(Duration::ZERO, Instant::now()), Next::Show);
    plan.shows(Duration::ZERO, Instant::now());
}
