//! Reads the configuration again when its file changes and at `SIGHUP`. What is wrong changes nothing.

use std::path::PathBuf;

use tka_operator::error::with_causes;
use tokio::signal::unix::Signal;
use tokio_util::sync::CancellationToken;

use crate::config::{self, Change, Config, ConfigError, Loaded, Location, Source};
use crate::file_watch::FileWatch;
use crate::metrics::Metrics;

/// Makes a configuration hold, or says why it cannot, having changed nothing.
pub(crate) type Apply = Box<dyn FnMut(&Config) -> Result<(), Box<dyn std::error::Error + Send + Sync>> + Send>;

/// What is needed to read the configuration again.
pub(crate) struct Reload {
    source: Source,
    /// What the server runs with.
    running: Config,
    /// What the file said last, be it good or bad. Nothing where it could not be read.
    seen: Option<Vec<u8>>,
    /// Whether any running setting came from the file.
    from_file: bool,
    watch: Option<FileWatch>,
    apply: Apply,
    metrics: Metrics,
}

/// Why a configuration that was read again changes nothing.
#[derive(Debug, thiserror::Error)]
enum ReloadError {
    /// It cannot be read, or is wrong.
    #[error(transparent)]
    Bad(#[from] ConfigError),
    /// To take that for all defaults might lift every limit.
    #[error("the file is empty or gone: write what is to hold, or restart the server for the defaults")]
    Empty,
    /// What is read and what is running cannot be laid over one another.
    #[error("it cannot be compared with the one before")]
    Merge(#[from] serde_json::Error),
    /// Its values contradict each other.
    #[error("its values contradict each other")]
    Apply(#[source] Box<dyn std::error::Error + Send + Sync>),
}

// === impl Reload ===

impl Reload {
    /// Starts from what was `loaded` from `source`, which holds by `apply`.
    pub(crate) fn new(source: Source, loaded: Loaded, apply: Apply, metrics: Metrics) -> Self {
        let watch = loaded.file.clone().map(|file| FileWatch::new(vec![file]));
        Self {
            from_file: has_settings(&loaded),
            running: loaded.config,
            seen: Some(loaded.bytes),
            source,
            watch,
            apply,
            metrics,
        }
    }

    /// Reads again as often as there is a reason, until `stop`.
    pub(crate) async fn run(mut self, mut hangup: Signal, stop: CancellationToken) {
        // It may have changed after it was read and before it was watched.
        self.again(false).await;
        loop {
            let asked = tokio::select! {
                () = stop.cancelled() => return,
                asked = hangup.recv() => match asked {
                    Some(()) => true,
                    None => std::future::pending().await,
                },
                () = file_changed(self.watch.as_mut()) => false,
            };
            self.again(asked).await;
        }
    }

    /// Reads once. What says the same as before is passed over, unless a person `asked`.
    async fn again(&mut self, asked: bool) {
        let source = self.source.clone();
        // A folder on a network may take long to answer.
        let Ok(read) = tokio::task::spawn_blocking(move || source.read()).await else {
            return tracing::error!("reading the configuration panicked; the one before stays in use");
        };
        let bytes = read.as_ref().ok().map(|(_, bytes)| bytes.clone());
        if bytes == self.seen && !asked {
            return;
        }
        self.seen = bytes;
        match read
            .map_err(Into::into)
            .and_then(|(file, bytes)| self.take(file, bytes))
        {
            Ok(change) => self.taken(&change),
            Err(error) => {
                let error = with_causes(&error).replace('\n', "; ");
                tracing::error!(error, "configuration not reloaded; the one before stays in use");
                self.metrics.config_reloaded(false);
            }
        }
    }

    fn take(&mut self, file: Option<PathBuf>, bytes: Vec<u8>) -> Result<Change, ReloadError> {
        let loaded = self
            .source
            .resolve_layers(file, bytes, |name| std::env::var(name).ok())?;
        let from_file = has_settings(&loaded);
        if self.from_file && !from_file {
            return Err(ReloadError::Empty);
        }
        let change = config::merge(&self.running, &loaded.config)?;
        if !change.changed.is_empty() {
            (self.apply)(&change.config).map_err(ReloadError::Apply)?;
        }
        self.running = change.config.clone();
        self.from_file = from_file;
        Ok(change)
    }

    fn taken(&self, change: &Change) {
        self.metrics.config_reloaded(true);
        tracing::info!(changed = change.changed.join(", "), "configuration reloaded");
        if !change.waiting.is_empty() {
            let keys = change.waiting.join(", ");
            tracing::warn!(keys, "these keys changed and hold after a restart");
        }
    }
}

async fn file_changed(watch: Option<&mut FileWatch>) {
    match watch {
        Some(watch) => watch.changed().await,
        None => std::future::pending().await,
    }
}

/// Whether a file says anything of the configuration.
fn has_settings(loaded: &Loaded) -> bool {
    loaded
        .places
        .values()
        .any(|place| matches!(place, Location::File { .. }))
}

#[cfg(test)]
mod tests;
