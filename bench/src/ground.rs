//! A testbed for one run, and what of it is measured.

use std::env;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;
use testbed::{Node, Options, Part, Server, ServerOptions, Testbed};

use crate::Outcome;
use crate::api::Api;

/// More than any measurement asks for: limits are not what is measured.
const NO_LIMIT: u32 = 1_000_000;

/// A testbed that is up, without a server of its own. It is taken down with this.
#[derive(Debug)]
pub struct Ground {
    /// The testbed.
    pub testbed: Testbed,
    dir: TempDir,
}

// === impl Ground ===

impl Ground {
    /// Brings a testbed up, with the programs beside this one.
    pub fn up() -> Outcome<Self> {
        // First: a missing Go is reported at once.
        testbed::prepare(Part::Core)?;
        let dir = tempfile::Builder::new().prefix("tka-bench-").tempdir()?;
        let mut options = Options::new(dir.path(), beside("tka-server")?);
        options.cli_program = beside("tka").ok().filter(|tka| tka.exists());
        let taken_down = dir.path().to_owned();
        let testbed = Testbed::up(&options).inspect_err(|_| take_down(&taken_down))?;
        let ground = Self { testbed, dir };
        // It would ask the API server too.
        ground.testbed.main_server()?.stop()?;
        ground.end_on_signal();
        Ok(ground)
    }

    /// A server that limits nothing, with further settings.
    pub fn server(&self, name: &str, config: &Value) -> Outcome<Server> {
        let mut settings = unlimited();
        merge(&mut settings, config);
        Ok(self.testbed.server(ServerOptions {
            config: settings,
            ..ServerOptions::new(name)
        })?)
    }

    /// The same release of the chart without a server that runs, and its client: for what is written by hand.
    pub async fn without_server(&self, name: &str) -> Outcome<(Server, Api)> {
        let server = self.server(name, &json!({}))?;
        server.stop()?;
        let api = Api::of(&server.kubeconfig()).await?;
        Ok((server, api))
    }

    /// The administrator's client.
    pub async fn admin(&self) -> Outcome<Api> {
        Api::of(&self.testbed.kubeconfig()).await
    }

    /// Ctrl-C ends the testbed too, whose processes hear nothing of it.
    fn end_on_signal(&self) {
        let dir = self.dir.path().to_owned();
        tokio::spawn(async move {
            if tokio::signal::ctrl_c().await.is_ok() {
                take_down(&dir);
                std::process::exit(130);
            }
        });
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        take_down(self.dir.path());
    }
}

fn take_down(dir: &std::path::Path) {
    if let Err(error) = testbed::down(dir) {
        eprintln!("bench: the testbed in {} was not taken down: {error}", dir.display());
    }
}

/// The proxy through which programs on a node reach the tailnet.
pub fn proxy(node: &Node) -> Outcome<SocketAddr> {
    Ok(node.proxy().trim_start_matches("http://").parse()?)
}

/// A program that was built with this one.
pub fn beside(name: &str) -> Outcome<PathBuf> {
    let own = env::current_exe()?;
    Ok(own.with_file_name(name))
}

/// The profile that this program was built with, by the folder that it is in.
pub fn profile() -> Outcome<String> {
    let own = env::current_exe()?;
    let folder = own.parent().and_then(|folder| folder.file_name()).unwrap_or_default();
    Ok(folder.to_string_lossy().into_owned())
}

/// Settings under which no limit is reached.
fn unlimited() -> Value {
    let rates = json!({ "requestsPerSecond": NO_LIMIT, "burst": NO_LIMIT });
    json!({
        "server": { "rateLimit": rates, "maxConnections": 5000 },
        "operator": { "maxSessionsPerDevice": NO_LIMIT, "maxBindingsPerDevice": NO_LIMIT },
        "gateway": { "rateLimit": rates, "maxRequests": 4000, "maxRequestsPerSession": 4000 },
    })
}

/// Lays `over` onto `base`, object by object.
fn merge(base: &mut Value, over: &Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                merge(base.entry(key).or_insert(Value::Null), value);
            }
        }
        (base, over) => *base = over.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn further_settings_are_laid_over() {
        let mut settings = unlimited();
        merge(
            &mut settings,
            &json!({ "operator": { "maxSessionsPerDevice": 7 }, "debug": true }),
        );
        assert_eq!(settings["operator"]["maxSessionsPerDevice"], 7);
        assert_eq!(settings["operator"]["maxBindingsPerDevice"], NO_LIMIT);
        assert_eq!(settings["debug"], true);
    }
}
