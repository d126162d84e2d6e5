//! Logs: one JSON object a line for machines, or text for people. Traces over OTLP, where they are asked for.

mod context;
mod otlp;
mod sampler;

use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::ExporterBuildError;
use opentelemetry_sdk::trace::SdkTracerProvider;
use thiserror::Error;
use tracing::{Level, Metadata};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::config::{Config, LogFormat};

pub use self::context::{continue_trace, inject_trace};

/// How long a stop waits for the collector to take the last traces. It may be dead.
const LAST_TRACES: Duration = Duration::from_secs(3);

/// Why traces cannot be sent where they should go.
#[derive(Debug, Error)]
pub enum TelemetryError {
    /// The address of the collector is none.
    #[error("otel.endpoint {endpoint:?} is not HOST:PORT of an OTLP receiver")]
    Endpoint {
        /// What is configured.
        endpoint: String,
        /// What is wrong with it.
        #[source]
        source: ExporterBuildError,
    },
    /// The environment says something else than where a collector is.
    #[error("the OTEL_* variables of the environment do not say how to send traces")]
    Environment(#[source] ExporterBuildError),
    /// The protocol is none of OTLP's.
    #[error("{name}={value:?} is no protocol of OTLP: set it to grpc, http/protobuf or http/json")]
    Protocol {
        /// The variable.
        name: &'static str,
        /// What it says.
        value: String,
    },
}

/// What must live until the end, so that the last traces are sent.
#[derive(Debug)]
pub struct Telemetry(Option<SdkTracerProvider>);

// === impl Telemetry ===

impl Drop for Telemetry {
    fn drop(&mut self) {
        if let Some(Err(error)) = self
            .0
            .as_ref()
            .map(|provider| provider.shutdown_with_timeout(LAST_TRACES))
        {
            eprintln!("tka-server: the last traces were not sent: {error}");
        }
    }
}

/// Starts logging to standard error, and tracing. `RUST_LOG` narrows or widens what is logged, but for what may hold a token. Within
/// an async runtime.
pub fn start(config: &Config) -> Result<Telemetry, TelemetryError> {
    // Below "info" the HTTP client may log headers: only TKA's own details are shown.
    let default = if config.debug {
        "info,tka_server=debug,tka_operator=debug,tka_tailnet=debug"
    } else {
        "info"
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let format = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let format = match config.log.format {
        LogFormat::Json => format.json().flatten_event(true).with_span_list(false).boxed(),
        LogFormat::Text => format.boxed(),
    };
    let provider = otlp::provider(&config.otel, |name| std::env::var(name).ok())?;
    let traces = provider.as_ref().map(|provider| provider.tracer("tka-server"));
    let traces = traces.map(|tracer| {
        tracing_opentelemetry::layer()
            .with_tracer(tracer)
            // A reader of a trace wants what happened, not where the code of it is.
            .with_location(false)
            .with_target(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_filter(filter_fn(is_own_span))
    });
    tracing_subscriber::registry()
        .with(filter_fn(holds_no_token))
        .with(format.with_filter(filter))
        .with(traces)
        .init();
    Ok(Telemetry(provider))
}

/// Whether `metadata` is of a span of TKA's own. Other crates name objects in theirs, and so people. Log lines name them too, and are no
/// part of traces. `RUST_LOG` is about logs only.
fn is_own_span(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && metadata.target().starts_with("tka_")
}

/// Whether what `metadata` is of can hold no token. At "warn" and below the Kubernetes client logs answers whole, say one that it cannot
/// read, and a token travels in some. The client of webhooks logs URLs, which may be secret. This is no directive of the filter, because setting `RUST_LOG` could undo that without
/// knowing.
fn holds_no_token(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    let of_client = target.starts_with("kube_client::client") || target.starts_with("ureq");
    !of_client || metadata.is_span() || *metadata.level() == Level::ERROR
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn no_filter_makes_the_client_log_its_answers() {
        for filter in [
            "trace",
            "kube_client::client=trace",
            "kube_client::client::builder=trace,kube_client=warn",
            "[request]=trace",
            "ureq=trace",
        ] {
            let written = Written::default();
            let writer = written.clone();
            let format = tracing_subscriber::fmt::layer().with_writer(move || writer.clone());
            let format = format.with_filter(EnvFilter::new(filter));
            let subscriber = tracing_subscriber::registry()
                .with(filter_fn(holds_no_token))
                .with(format);
            tracing::subscriber::with_default(subscriber, || {
                let _within = tracing::info_span!("request").entered();
                tracing::warn!(target: "kube_client::client", "{{\"token\":\"secret\"");
                tracing::debug!(target: "kube_client::client::builder", "secret");
                tracing::trace!(target: "ureq::run", "https://hooks.example/secret");
                tracing::error!(target: "kube_client::client", "failed");
            });
            let written = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
            assert!(!written.contains("secret"), "{filter}: {written}");
            assert!(written.contains("failed") || filter == "ureq=trace", "{filter}");
        }
    }
}
