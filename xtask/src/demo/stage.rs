//! Steps of a story: what happens, whether it was as told, and how long it took.

use std::{
    error::Error,
    time::{Duration, Instant},
};

use serde::Serialize;

/// What a step comes to: a value for the steps after it, and what to show of it.
pub(crate) type Told<T> = Result<(T, String), Box<dyn Error>>;

/// The steps so far.
#[derive(Debug, Default)]
pub(crate) struct Stage {
    steps: Vec<Step>,
}

/// One step, as `--json` writes it.
#[derive(Debug, Serialize)]
struct Step {
    name: &'static str,
    outcome: Outcome,
    milliseconds: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Ok,
    Failed,
}

// === impl Stage ===

impl Stage {
    /// Does a step and says what came of it. Without its value the steps that build on it cannot be done.
    pub(crate) fn step<T>(&mut self, name: &'static str, work: impl FnOnce() -> Told<T>) -> Option<T> {
        let start = Instant::now();
        let told = work();
        let took = start.elapsed();
        let (outcome, value, shown, error) = match told {
            Ok((value, shown)) => (Outcome::Ok, Some(value), shown, None),
            Err(error) => (Outcome::Failed, None, error.to_string(), Some(error.to_string())),
        };
        let mark = if outcome == Outcome::Ok { '✓' } else { '✗' };
        println!("{mark} {name} ({})", time(took));
        shown.lines().for_each(|line| println!("    {line}"));
        let milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        self.steps.push(Step {
            name,
            outcome,
            milliseconds,
            error,
        });
        value
    }

    /// How many steps failed, and how many there were.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let failed = self.steps.iter().filter(|step| step.outcome == Outcome::Failed).count();
        (failed, self.steps.len())
    }

    /// Says how it ended.
    pub(crate) fn conclude(&self) {
        let (failed, all) = self.counts();
        println!("{} of {all} steps were as told", all - failed);
    }

    /// The steps as JSON.
    pub(crate) fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(&self.steps).map(|json| json + "\n")
    }
}

fn time(took: Duration) -> String {
    match took.as_millis() {
        millis @ 0..10_000 => format!("{millis} ms"),
        _ => format!("{:.1} s", took.as_secs_f64()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_step_is_counted_and_told() {
        let mut stage = Stage::default();
        assert_eq!(stage.step("one", || Ok((1, String::new()))), Some(1));
        assert_eq!(stage.step("two", || Err::<((), String), _>("it broke".into())), None);
        assert_eq!(stage.counts(), (1, 2));
        let json: serde_json::Value = serde_json::from_str(&stage.json().unwrap()).unwrap();
        assert_eq!(json[0]["outcome"], "ok");
        assert_eq!(json[1]["outcome"], "failed");
        assert_eq!(json[1]["error"], "it broke");
        assert!(json[0]["milliseconds"].is_u64());
    }
}
