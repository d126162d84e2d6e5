//! `cargo xtask bench`: the measurements that need a testbed.

use std::process::ExitCode;

use bench::Outcome;
use bench::cost::Cost;
use bench::gateway::Gateway;
use bench::login::Login;
use bench::scale::Scale;
use bench::server::Server;
use clap::{Parser, Subcommand};

/// Measures TKA on a testbed of its own. `cargo xtask bench` builds what is measured, and runs this.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask bench")]
struct Cli {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// A sign-in and a sign-out, against the least that the API server takes for them.
    Login(Login),
    /// The cluster's API over the tailnet, against other ways to it.
    Gateway(Gateway),
    /// What TKA costs the cluster, in requests to the API server.
    Cost(Cost),
    /// How many requests a server answers.
    Server(Server),
    /// How everything grows with the number of sessions.
    Scale(Scale),
}

#[tokio::main]
async fn main() -> ExitCode {
    // Fails only if a provider is installed already, and then that one serves.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match run(Cli::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> Outcome {
    match cli.what {
        What::Login(login) => login.run().await,
        What::Gateway(gateway) => gateway.run().await,
        What::Cost(cost) => cost.run().await,
        What::Server(server) => server.run().await,
        What::Scale(scale) => scale.run().await,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
