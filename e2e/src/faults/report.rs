//! What was found, as a table and as JSON.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::cuts::Finding;
use super::trouble::Trouble;

/// What was found after all cuts.
#[derive(Debug, Serialize)]
pub struct Report {
    /// After each cut.
    pub cuts: Vec<Finding>,
    /// What came of each trouble that lasts longer.
    pub troubles: Vec<Trouble>,
    /// How often something was there, or worked, that should not.
    pub leaked: usize,
    /// How often something was not there, or did not work, that should.
    pub lost: usize,
}

// === impl Report ===

impl Report {
    /// A report of these findings.
    #[must_use]
    pub fn new(cuts: Vec<Finding>, troubles: Vec<Trouble>) -> Self {
        let leaked = |cut: &Finding| cut.leaked.len();
        let lost = |cut: &Finding| cut.lost.len();
        Self {
            leaked: cuts.iter().map(leaked).sum::<usize>()
                + troubles.iter().map(|trouble| trouble.leaked.len()).sum::<usize>(),
            lost: cuts.iter().map(lost).sum::<usize>()
                + troubles.iter().map(|trouble| trouble.lost.len()).sum::<usize>(),
            cuts,
            troubles,
        }
    }

    /// Whether all was as it should be after each.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.leaked == 0 && self.lost == 0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let heads = ("operation", "request", "cut", "server", "answer", "found", "after");
        let (operation, request, cut, server, answer, found, after) = heads;
        writeln!(
            f,
            "{operation:<20} {request:<34} {cut:<6} {server:<7} {answer:>6}  {found:<9} {after:>7}"
        )?;
        for finding in &self.cuts {
            writeln!(f, "{finding}")?;
        }
        for trouble in &self.troubles {
            writeln!(f, "{trouble}")?;
        }
        let reached = self.cuts.iter().filter(|cut| cut.reached).count();
        write!(f, "{reached} cuts")?;
        if !self.troubles.is_empty() {
            write!(f, " and {} longer troubles", self.troubles.len())?;
        }
        writeln!(f, ": {} leaked, {} lost", self.leaked, self.lost)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = match self.point.number {
            1 => String::new(),
            number => format!(" ({number})"),
        };
        let request = format!("{}{number}", self.point.request);
        let server = if self.point.killed { "killed" } else { "runs" };
        let answer = self.answer.map_or_else(|| "-".to_owned(), |answer| answer.to_string());
        let seconds = Duration::from_millis(self.milliseconds).as_secs_f64();
        let found = if self.reached { self.found } else { "not made" };
        write!(
            f,
            "{:<20} {request:<34} {:<6} {server:<7} {answer:>6}  {found:<9} {seconds:>5.1} s",
            self.operation, self.point.moment
        )?;
        problems(f, &self.leaked, &self.lost)
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = Duration::from_millis(self.milliseconds).as_secs_f64();
        write!(f, "{:<92} {seconds:>5.1} s", self.name)?;
        problems(f, &self.leaked, &self.lost)
    }
}

fn problems(f: &mut fmt::Formatter<'_>, leaked: &[String], lost: &[String]) -> fmt::Result {
    for what in leaked {
        write!(f, "\n    LEAKED: {what}")?;
    }
    for what in lost {
        write!(f, "\n    LOST: {what}")?;
    }
    Ok(())
}
