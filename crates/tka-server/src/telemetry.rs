//! Logs: one JSON object a line for machines, or text for people.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{Config, LogFormat};

/// Starts logging to standard error. `RUST_LOG` narrows or widens what is logged.
pub fn start(config: &Config) {
    // Below "info" the HTTP client may log headers, and a header is where a token travels: only TKA's own details are shown.
    let default = if config.debug {
        "info,tka_server=debug,tka_operator=debug,tka_tailnet=debug"
    } else {
        "info"
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let registry = tracing_subscriber::registry().with(filter);
    let format = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    match config.log.format {
        LogFormat::Json => registry.with(format.json().flatten_event(true)).init(),
        LogFormat::Text => registry.with(format).init(),
    }
}
