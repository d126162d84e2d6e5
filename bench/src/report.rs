//! What a measurement found: printed as tables, written as JSON.

use std::fs;
use std::path::PathBuf;

use serde::Serialize;
use serde_json::Value;

use crate::plot::{self, Panel};
use crate::table::Table;
use crate::{Outcome, ground};

/// Where a measurement is shown.
#[derive(Clone, Debug, clap::Args)]
pub struct Output {
    /// Write the figures into this file, as JSON.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,

    /// Print the tables as Markdown, as they are in docs/performance.md.
    #[arg(long)]
    pub markdown: bool,
}

/// What was measured, and on what.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The measurement's name.
    pub name: &'static str,
    machine: Machine,
    /// What the programs were built with.
    profile: String,
    /// What it comes to.
    pub tables: Vec<Table>,
    /// The same for docs/performance.md, as `cargo xtask bench --docs` puts it there.
    markdown: String,
    /// Curves, as an SVG image, where there are any.
    plot: Option<String>,
    /// The values that the tables are made of.
    pub raw: Value,
}

/// The machine, as far as it matters.
#[derive(Clone, Debug, Serialize)]
struct Machine {
    processor: String,
    cores: usize,
    memory_gb: u64,
    kernel: String,
    /// How many processes wanted a core in the last minute (proc(5), `loadavg`).
    load: String,
}

// === impl Report ===

impl Report {
    /// A report of `raw` values.
    pub fn new(name: &'static str, tables: Vec<Table>, raw: &impl Serialize) -> Outcome<Self> {
        let (machine, profile) = (Machine::here(), ground::profile()?);
        let texts = tables.iter().map(Table::markdown).collect::<Vec<_>>().join("\n");
        Ok(Self {
            name,
            markdown: format!("{}; profile `{profile}`\n\n{texts}", machine.line()),
            machine,
            profile,
            tables,
            plot: None,
            raw: serde_json::to_value(raw)?,
        })
    }

    /// The same with curves.
    #[must_use]
    pub fn with_plot(self, panels: &[Panel]) -> Self {
        Self {
            plot: Some(plot::svg(panels)),
            ..self
        }
    }

    /// Prints it, and writes it.
    pub fn show(&self, output: &Output) -> Outcome {
        if output.markdown {
            println!("{}", self.markdown);
            return self.write(output);
        }
        println!("{}: {}; profile {}\n", self.name, self.machine.line(), self.profile);
        for table in &self.tables {
            println!("{}", table.text());
        }
        self.write(output)?;
        if let Some(file) = &output.json {
            eprintln!("bench: all values are in {}", file.display());
        }
        Ok(())
    }

    /// Writes it, and prints nothing.
    pub fn write(&self, output: &Output) -> Outcome {
        let Some(file) = &output.json else { return Ok(()) };
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder)?;
        }
        Ok(fs::write(file, serde_json::to_string_pretty(self)? + "\n")?)
    }
}

// === impl Machine ===

impl Machine {
    fn line(&self) -> String {
        let Self {
            processor,
            cores,
            memory_gb,
            kernel,
            load,
        } = self;
        format!("{cores} cores of {processor}, {memory_gb} GB, Linux {kernel}, load {load}")
    }

    fn here() -> Self {
        let read = |file| fs::read_to_string(file).unwrap_or_default();
        let load = read("/proc/loadavg");
        Self {
            processor: field(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| "an unknown processor".to_owned()),
            cores: std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
            memory_gb: field(&read("/proc/meminfo"), "MemTotal")
                .and_then(|text| gigabytes(&text))
                .unwrap_or_default(),
            kernel: version(&read("/proc/sys/kernel/osrelease")).to_owned(),
            load: load.split(' ').next().unwrap_or_default().to_owned(),
        }
    }
}

/// A kernel's version, without what a distribution or a provider adds.
fn version(release: &str) -> &str {
    release.trim().split('-').next().unwrap_or_default()
}

/// The value of a line `name : value`.
fn field(text: &str, name: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn gigabytes(text: &str) -> Option<u64> {
    let kilobytes: u64 = text.strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kilobytes.div_ceil(1024 * 1024))
}

/// Bytes as megabytes, for a table.
#[must_use]
pub fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", crate::stats::float(bytes) / 1_000_000.0)
}

/// Milliseconds, for a table.
#[must_use]
pub fn millis(ms: f64) -> String {
    format!("{ms:.1} ms")
}

/// A ratio, for a table.
#[must_use]
pub fn times(ratio: f64) -> String {
    format!("{ratio:.2} ×")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machine_is_read_from_what_linux_tells() {
        assert_eq!(
            field("vendor : x\nmodel name\t: A CPU @ 2 GHz\n", "model name").as_deref(),
            Some("A CPU @ 2 GHz")
        );
        assert_eq!(gigabytes("24576000 kB"), Some(24));
        assert_eq!(version("6.12.1-provider-7\n"), "6.12.1");
        assert!(Machine::here().cores > 0);
    }

    #[test]
    fn figures_are_written_for_people() {
        assert_eq!(
            (megabytes(17_100_000), millis(3.04), times(1.25)),
            ("17.1 MB".into(), "3.0 ms".into(), "1.25 ×".into())
        );
    }
}
