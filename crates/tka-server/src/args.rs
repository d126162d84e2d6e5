//! Flags, those of the original TKA among them.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{Setting, Source};
use crate::{check, ready, run};

/// Short-lived Kubernetes access for people on a tailnet.
#[derive(Debug, Parser)]
#[command(name = "tka-server", version, about, disable_help_subcommand = true)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve the tailnet, and look after the sessions.
    Serve(Box<Serve>),
    /// Ask the server that runs with the same configuration whether it is ready, and say what is not.
    Ready(Ready),
    /// About configuration files.
    #[command(subcommand)]
    Config(Config),
}

/// What to do with a configuration file.
#[derive(Debug, Subcommand)]
pub enum Config {
    /// Say all that is wrong with a configuration file. It looks at the file alone, not at the environment.
    Check(Check),
}

/// Which file to look at.
#[derive(Args, Debug)]
pub struct Check {
    /// The file; `-` is standard input [default: the first config.yaml in ., ~/.config/tka and /etc/tka].
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
}

/// Which server to ask.
#[derive(Args, Debug)]
pub struct Ready {
    /// Configuration file [default: the first config.yaml in ., ~/.config/tka and /etc/tka].
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Settings given as flags. They are over the environment, which is over the file.
#[derive(Args, Debug)]
pub struct Serve {
    /// Configuration file [default: the first config.yaml in ., ~/.config/tka and /etc/tka].
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Log details.
    #[arg(long)]
    pub debug: bool,
    /// Name of the node on the tailnet (tailscale.hostname).
    #[arg(short, long, value_name = "NAME")]
    pub server: Option<String>,
    /// Port on the tailnet: HTTPS on 443, else HTTP (tailscale.port).
    #[arg(short, long)]
    pub port: Option<String>,
    /// Unix socket of tailscaled (tailscale.socket).
    #[arg(long, value_name = "PATH")]
    pub socket: Option<String>,
    /// Has no effect: tailscaled keeps its own state (tailscale.stateDir).
    #[arg(short, long, value_name = "DIR", hide = true)]
    pub dir: Option<String>,
    /// Capability whose values are rules (tailscale.capName).
    #[arg(short = 'n', long, value_name = "NAME")]
    pub cap_name: Option<String>,
    /// Port of the health listener (health.port).
    #[arg(long, value_name = "PORT")]
    pub health_port: Option<String>,
    /// URL by which people reach the Kubernetes API server (clusterInfo.apiEndpoint).
    #[arg(long, value_name = "URL")]
    pub api_endpoint: Option<String>,
    /// Certificate authority of the API server: PEM, or PEM in base64 (clusterInfo.caData).
    #[arg(long, value_name = "DATA")]
    pub ca_data: Option<String>,
    /// Let clients skip verifying the API server's certificate (clusterInfo.insecureSkipTLSVerify).
    #[arg(long)]
    pub insecure_skip_tls_verify: bool,
    /// Labels of the cluster, key=value,… (clusterInfo.labels).
    #[arg(long, value_name = "LABELS")]
    pub labels: Option<String>,
}

// === impl Serve ===

impl Serve {
    fn run(self) -> Result<(), Box<dyn std::error::Error>> {
        let flags = self.settings();
        let source = source(self.config, flags);
        let loaded = source.load(variable)?;
        Ok(run::main(source, loaded)?)
    }

    /// The flags that were given, as settings.
    #[must_use]
    pub fn settings(&self) -> Vec<Setting> {
        let texts = [
            ("tailscale.hostname", &self.server),
            ("tailscale.port", &self.port),
            ("tailscale.socket", &self.socket),
            ("tailscale.stateDir", &self.dir),
            ("tailscale.capName", &self.cap_name),
            ("health.port", &self.health_port),
            ("clusterInfo.apiEndpoint", &self.api_endpoint),
            ("clusterInfo.caData", &self.ca_data),
            ("clusterInfo.labels", &self.labels),
        ];
        let switches = [
            ("debug", self.debug),
            ("clusterInfo.insecureSkipTLSVerify", self.insecure_skip_tls_verify),
        ];
        let texts = texts.into_iter().filter_map(|(key, text)| Some((key, text.clone()?)));
        let switches = switches.into_iter().filter(|(_, on)| *on);
        let settings = texts.chain(switches.map(|(key, _)| (key, "true".into())));
        settings.map(|(key, text)| Setting { key, text }).collect()
    }
}

/// Reads the flags and does what they say.
#[must_use]
pub fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Serve(serve) => serve.run(),
        Command::Ready(asked) => source(asked.config, Vec::new())
            .health(variable)
            .map_err(Into::into)
            .and_then(|health| ready::ask(&health).map_err(Into::into))
            .map(|said| print!("{said}")),
        Command::Config(Config::Check(asked)) => check::run(&source(asked.file, Vec::new()))
            .map_err(Into::into)
            .map(|said| print!("{said}")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&*error),
    }
}

fn source(path: Option<PathBuf>, flags: Vec<Setting>) -> Source {
    let home = std::env::home_dir();
    Source { path, home, flags }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn failed(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("tka-server: {error}");
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.for_each(|cause| eprintln!("  because: {cause}"));
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn flags_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn flags_of_the_original_are_settings() {
        let line = "tka-server serve -s tka -p 8080 -d /s -n c/d --health-port 9 --api-endpoint https://k --ca-data x \
                    --insecure-skip-tls-verify --labels env=dev --debug";
        let Command::Serve(serve) = Arguments::parse_from(line.split_whitespace()).command else {
            panic!("not to serve")
        };
        let settings = serve.settings();
        assert_eq!(settings.len(), 10);
        for (key, text) in [("tailscale.port", "8080"), ("debug", "true")] {
            let text = text.to_owned();
            assert!(settings.contains(&Setting { key, text }), "{key}");
        }
    }

    #[test]
    fn without_flags_there_are_no_settings() {
        let Command::Serve(serve) = Arguments::parse_from(["tka-server", "serve"]).command else {
            panic!("not to serve")
        };
        assert_eq!(serve.settings(), []);
    }
}
