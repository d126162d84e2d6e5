#![doc = include_str!("../README.md")]

mod bench;
mod book;
mod check;
mod demo;
mod dist;
mod down;
mod faults;
mod fuzz;
mod generate;
mod image;
mod imports;
mod module_tables;
mod policies;
mod policy;
mod restart_server;
mod test;
mod threats;
mod troubleshooting;
mod up;
mod version;

use std::{env, error::Error, path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};

/// What a developer of TKA types.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a real cluster, a real tailnet and a server on this machine, and leave them running.
    Up(up::Up),
    /// End what `up` started, and remove everything but its logs.
    Down(down::Down),
    /// Start the server again, with the state it had.
    RestartServer(restart_server::RestartServer),
    /// Put the tailnet policy into force as it now is in its file.
    Policy(policy::Policy),
    /// Hold `tka policy who` against a real headscale and server, with generated policies.
    Policies(policies::Policies),
    /// Play the whole story with the real programs, on a testbed of its own.
    Demo(demo::Demo),
    /// Run everything that can be tested here.
    Test(test::Test),
    /// Cut a server off at every single request that it makes of the API server, and show what was found after each.
    Faults(faults::Faults),
    /// Let a fuzzer make up what comes from outside.
    Fuzz(fuzz::Fuzz),
    /// Make OCI images of `tka-server` and `tka`, without an engine.
    Image(image::Images),
    /// Fill `target/dist` with all that a release publishes: programs, images, the chart, manifests, bills of materials.
    Dist(dist::Dist),
    /// Build the documentation as a site, in `target/book/html`, and check every link in every document.
    Book(book::Book),
    /// Measure speed, size and scale, beside what each is compared with.
    Bench(bench::Bench),
    /// Check formatting, lints, documentation, licences and generated files.
    Check(check::Check),
    /// Write the custom resource and the version into the Helm chart, from the code.
    Crd(generate::Generate),
    /// Write the references in `docs` (CLI, HTTP API), from the code.
    Docs(generate::Generate),
}

/// Which testbed.
#[derive(Debug, Args)]
struct Dir {
    /// The testbed's folder [default: target/testbed]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl Dir {
    fn path(self) -> PathBuf {
        self.dir.unwrap_or_else(|| root().join("target/testbed"))
    }
}

/// The result of a command: an error says what happened, why, and what to do.
type Outcome<T = ()> = Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    if let Some(measured) = bench::resident::measured() {
        return measured;
    }
    let outcome = match Cli::parse().command {
        Command::Up(command) => command.run(),
        Command::Down(command) => command.run(),
        Command::RestartServer(command) => command.run(),
        Command::Policy(command) => command.run(),
        Command::Policies(command) => command.run(),
        Command::Demo(command) => command.run(),
        Command::Test(command) => command.run(),
        Command::Faults(command) => command.run(),
        Command::Fuzz(command) => command.run(),
        Command::Image(command) => command.run(),
        Command::Dist(command) => command.run(),
        Command::Book(command) => command.run(),
        Command::Bench(command) => command.run(),
        Command::Check(command) => command.run(),
        Command::Crd(command) => command.crd(),
        Command::Docs(command) => command.docs(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&*error);
            ExitCode::FAILURE
        }
    }
}

/// An error and what caused it, on stderr.
fn report(error: &dyn Error) {
    eprintln!("error: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        eprintln!("  because: {error}");
        cause = error.source();
    }
}

/// The root of the checkout.
fn root() -> PathBuf {
    let mut root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    root.pop();
    root
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_default_folder_is_in_target() {
        let cli = Cli::parse_from(["cargo xtask", "down"]);
        let Command::Down(down) = cli.command else {
            panic!("{:?}", cli.command)
        };
        let dir = down.dir.path();
        assert!(
            dir.ends_with("target/testbed") && dir.is_absolute(),
            "{}",
            dir.display()
        );
    }
}
