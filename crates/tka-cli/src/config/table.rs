//! The settings of the CLI, in one table.
//!
//! A row is all that a new setting needs. It has its key, type and reader, whether the working directory may set it, its default and its
//! flag. A new section of the file also has a field in [`super::layer`]. The environment variable comes from the key.

use serde_json::Value;

use super::error::ConfigError;
use super::value::RawValue;
use crate::config::flags::Global;
use crate::net::server::HTTPS_PORT;
use crate::terminal::theme::Theme;

/// Whether the `config.yaml` of the working directory may set a key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum CwdPolicy {
    /// It may: the key only changes how results look.
    Allowed,
    /// It may not: the key selects a server, or what is written, run or printed.
    Refused,
}

macro_rules! settings {
    ($($(#[$meaning:meta])* $key:literal: $field:ident, $type:ty, $reader:ident, $cwd:ident, $default:expr, $flag:expr;)*) => {
        /// Every key of configuration files.
        pub(crate) const KEYS: [&str; [$($key),*].len()] = [$($key),*];

        /// Every key, and whether the working directory's file may set it.
        pub(crate) const TABLE: [(&str, CwdPolicy); KEYS.len()] = [$(($key, CwdPolicy::$cwd)),*];

        /// The settings of one layer. Earlier layers override later ones.
        #[derive(Clone, Debug, Default)]
        pub(crate) struct Layer {
            $($(#[$meaning])* pub(crate) $field: Option<$type>,)*
        }

        // === impl Layer ===

        impl Layer {
            /// Reads every key from `find`, which returns [`Value::Null`] for an unset key.
            pub(crate) fn from_source(
                find: impl Fn(&'static str) -> Result<RawValue, ConfigError>,
            ) -> Result<Self, ConfigError> {
                Ok(Self { $($field: find($key)?.$reader()?,)* })
            }

            /// The lowest layer.
            pub(crate) fn defaults() -> Self {
                Self { $($field: $default,)* }
            }

            /// The value of `key` in this layer.
            pub(crate) fn get(&self, key: &str) -> Option<Value> {
                match key {
                    $($key => Option::clone(&self.$field).map(Value::from),)*
                    _ => None,
                }
            }

            /// This layer above `lower`.
            pub(crate) fn or(self, lower: Self) -> Self {
                Self { $($field: self.$field.or(lower.$field),)* }
            }
        }

        /// Absent switches set nothing; no flag turns a setting off.
        impl From<&Global> for Layer {
            fn from(flags: &Global) -> Self {
                Self {
                    $($field: {
                        let flag: fn(&Global) -> Option<$type> = $flag;
                        flag(flags)
                    },)*
                }
            }
        }
    };
}

// Key: field, type, reader, policy for the working directory, default, flag. The defaults are those of the original and its documentation.
settings! {
    /// The name of the server.
    "tailscale.hostname": hostname, String, host, Refused, Some("tka".to_owned()), |flags| flags.server.clone();
    /// The port of the server.
    "tailscale.port": port, u16, port, Refused, Some(HTTPS_PORT), |flags| flags.port;
    /// The tailnet's domain.
    "tailscale.tailnet": tailnet, String, tailnet, Refused, None, |_| None;
    /// tailscaled's socket, if it is not at the default path.
    "tailscale.socket": socket, String, absolute_path, Refused, None, |_| None;
    /// The proxy that leads to the tailnet.
    "tailscale.proxy": proxy, String, proxy, Refused, None, |_| None;
    /// The tag of the servers' nodes.
    "tailscale.tag": tag, String, tag, Refused, Some("tag:tka".to_owned()), |_| None;
    /// Whether to merge contexts into the user's own kubeconfig.
    "kubeconfig.merge": merge, bool, boolean, Refused, Some(false), |_| None;
    /// Whether kubectl may sign in again when a session is over and a user is at the terminal.
    "credential.login": login, bool, boolean, Refused, Some(false), |_| None;
    /// The identity of age that opens sealed recordings.
    "recordings.identity": identity, String, absolute_path, Refused, None, |_| None;
    /// The colours of results.
    "output.theme": theme, Theme, theme, Allowed, Some(Theme::default()), |flags| flags.theme;
    /// Whether results show more.
    "output.long": long, bool, boolean, Allowed, Some(false), |flags| flags.long.then_some(true);
    /// Whether only what a shell evaluates and errors are printed.
    "output.quiet": quiet, bool, boolean, Refused, Some(false), |flags| flags.quiet.then_some(true);
    /// Whether requests and the origins of settings are printed.
    "debug": debug, bool, boolean, Refused, Some(false), |flags| flags.debug.then_some(true);
}

impl From<Theme> for Value {
    fn from(theme: Theme) -> Self {
        Self::String(theme.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::layer::variable_name;

    #[test]
    fn readme_has_a_row_for_every_setting() {
        let readme = include_str!("../../README.md");
        for key in KEYS {
            let row = format!("\n| `{key}` | `{}` |", variable_name(key));
            assert!(readme.contains(&row), "README.md lacks {row}");
        }
    }
}
