//! `tka config`, `tka get config`, `tka set config`

use std::path::Path;
use std::process::ExitCode;

use clap::builder::{PossibleValuesParser, TypedValueParser};

use crate::config::edit::{self, Change};
use crate::config::effective::{self, Setting, Settings};
use crate::config::flags::Global;
use crate::config::{Config, ConfigError, KEYS, default_server};
use crate::context::settings;
use crate::error::Error;
use crate::session::notices;
use crate::sys::environment::{home, variable};
use crate::terminal::messages;
use crate::terminal::output::Output;
use crate::terminal::ui::{self, Ui};

/// Show settings and where they come from, or change one
///
/// Without a key it shows all settings, with a key its value. With a value too, it writes the value to the configuration file, or to a new
/// one, ~/.config/tka/config.yaml. Everything else in the file stays, comments too. The key `server` stands for `tailscale.hostname` and
/// `tailscale.port`.
///
///   tka config server tka.example.ts.net:8080
///   tka config output.theme dracula
#[derive(clap::Args, Debug)]
#[command(verbatim_doc_comment)]
pub(crate) struct Arguments {
    #[command(flatten)]
    get: Get,

    /// The new value
    value: Option<String>,

    /// Create the file that `--config` or `TKA_CONFIG` names, if it does not exist
    #[arg(short, long, requires = "value")]
    force: bool,
}

/// Show settings and where they come from
///
/// Without a key all settings, with a key its value.
#[derive(clap::Args, Debug)]
pub(crate) struct Get {
    /// The setting
    #[arg(value_parser = PossibleValuesParser::new(Key::names()).try_map(|name| Key::new(&name)))]
    key: Option<Key>,

    /// Show which configuration file is in use
    #[arg(long, conflicts_with = "format")]
    filename: bool,

    #[command(flatten)]
    output: Output,
}

/// Change a setting in the configuration file
///
/// Everything else in the file stays, comments too.
#[derive(clap::Args, Debug)]
pub(crate) struct Set {
    /// The setting
    #[arg(value_parser = PossibleValuesParser::new(Key::names()).try_map(|name| Key::new(&name)))]
    key: Key,

    /// The new value
    value: String,

    /// Create the file that `--config` or `TKA_CONFIG` names, if it does not exist
    #[arg(short, long)]
    force: bool,
}

/// What is shown or changed.
#[derive(Clone, Copy, Debug)]
enum Key {
    One(&'static str),
    /// The server, which two settings hold.
    Server,
}

/// The name of [`Key::Server`].
const SERVER: &str = "server";

pub(crate) fn run(flags: &Global, arguments: &Arguments) -> Result<ExitCode, Error> {
    match (arguments.get.key, &arguments.value) {
        (Some(key), Some(value)) => change(flags, key, value, arguments.force),
        _ => get(flags, &arguments.get),
    }
}

pub(crate) fn set(flags: &Global, arguments: &Set) -> Result<ExitCode, Error> {
    change(flags, arguments.key, &arguments.value, arguments.force)
}

pub(crate) fn get(flags: &Global, arguments: &Get) -> Result<ExitCode, Error> {
    let config = settings(flags)?;
    notices::note_ignored_keys(&config);
    let settings = Settings::load(flags, home().as_deref(), &variable)?;
    match arguments.key {
        Some(Key::Server) => show(&config, &effective::server(&config, &settings)?, arguments.output)?,
        Some(Key::One(key)) => settings
            .get(key)
            .map_or(Ok(()), |setting| show(&config, setting, arguments.output))?,
        None if !arguments.filename => drop(arguments.output.print(config.output_mode(), &settings)?),
        None => {}
    }
    if arguments.filename {
        let file = settings.file.ok_or(ConfigError::NoFile)?;
        ui::print(&file.display().to_string())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints the value alone, for scripts, unless a format is selected.
fn show(config: &Config, setting: &Setting, output: Output) -> Result<(), Error> {
    match output.format(false) {
        Some(_) => Ok(output.print(config.output_mode(), setting).map(drop)?),
        None => Ok(ui::print(&setting.text())?),
    }
}

fn change(flags: &Global, key: Key, value: &str, create: bool) -> Result<ExitCode, Error> {
    let path = edit::target(flags, home().as_deref(), &variable, create);
    // A wrong value is wrong in any file.
    let changes = match key {
        Key::One(key) => vec![Change::new(key, value)?],
        Key::Server => {
            let changes = default_server::typed_changes(path.as_deref().unwrap_or(Path::new("")), value);
            changes.map_err(Error::TypedServer)?
        }
    };
    let path = path?;
    edit::apply(&path, &changes)?;
    let flags = Global {
        config: Some(path.clone()),
        ..flags.clone()
    };
    let config = settings(&flags)?;
    let ui = Ui::new(config.theme.palette(), config.quiet, config.debug);
    let text = format!("{} is {value} in {}", key.name(), path.display());
    ui.notify(&messages::done(&text, &ui.palette));
    for change in &changes {
        note_overridden(&flags, change.key(), &path.display().to_string(), &ui)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Notes if another source overrides the file.
pub(super) fn note_overridden(flags: &Global, key: &str, file: &str, ui: &Ui) -> Result<ExitCode, Error> {
    let settings = Settings::load(flags, home().as_deref(), &variable)?;
    if let Some(setting) = settings.get(key).filter(|setting| setting.from != file) {
        let text = format!("{} overrides the file: it sets {}", setting.from, setting.text());
        ui.notify(&messages::note(&text, &ui.palette));
    }
    Ok(ExitCode::SUCCESS)
}

// === impl Key ===

impl Key {
    fn names() -> impl Iterator<Item = &'static str> {
        [SERVER].into_iter().chain(KEYS)
    }

    fn new(name: &str) -> Result<Self, ConfigError> {
        if name.eq_ignore_ascii_case(SERVER) {
            return Ok(Self::Server);
        }
        effective::key(name).map(Self::One)
    }

    fn name(self) -> &'static str {
        match self {
            Self::One(key) => key,
            Self::Server => SERVER,
        }
    }
}
