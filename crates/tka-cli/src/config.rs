//! Settings: defaults, then the configuration file, then the environment, then flags.
//!
//! The `config.yaml` of the working directory may only set how results look; see [`files`] and [`table`].

pub(crate) mod default_server;
mod document;
pub(crate) mod edit;
pub(crate) mod effective;
mod error;
mod files;
pub(crate) mod flags;
mod keys;
mod layer;
mod table;
mod value;

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::flags::Global;
use crate::net::proxy::Variables;
use crate::net::server::Server;
use crate::terminal::output::OutputMode;
use crate::terminal::theme::Theme;
pub(crate) use error::ConfigError;
use files::CWD_FILE;
use layer::Layers;
pub(crate) use table::KEYS;
use table::Layer;

/// The settings of one run.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "a switch is a bool")]
pub(crate) struct Config {
    pub(crate) hostname: String,
    /// Whether a user or an administrator chose the server, and `hostname` is not just the default.
    pub(crate) has_chosen_server: bool,
    pub(crate) port: u16,
    pub(crate) tailnet: Option<String>,
    /// tailscaled's socket, if it is not at the default path.
    pub(crate) socket: Option<PathBuf>,
    /// The URL of the proxy that a user chose. It overrides those of the environment.
    pub(crate) proxy: Option<String>,
    /// The tag of the servers' nodes.
    pub(crate) tag: String,
    /// Whether to merge contexts into the user's own kubeconfig.
    pub(crate) merge: bool,
    /// Whether kubectl may sign in again when a session is over and a user is at the terminal.
    pub(crate) login: bool,
    /// The identity of age that opens sealed recordings.
    pub(crate) identity: Option<PathBuf>,
    pub(crate) theme: Theme,
    pub(crate) long: bool,
    pub(crate) quiet: bool,
    pub(crate) no_eval: bool,
    pub(crate) debug: bool,
    /// The longest time that a command waits for the server.
    pub(crate) timeout: Duration,
    /// The trusted configuration file, if there is one.
    pub(crate) file: Option<PathBuf>,
    /// The keys that the working directory's file would have changed, but may not.
    ignored_keys: Vec<&'static str>,
}

/// How long a command waits for the server, as in the original.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);

// === impl Config ===

impl Config {
    /// The settings for results.
    pub(crate) fn output_mode(&self) -> OutputMode {
        OutputMode {
            quiet: self.quiet,
            long: self.long,
            theme: self.theme,
        }
    }

    /// Loads all layers. `home` is the home folder.
    pub(crate) fn load(flags: &Global, home: Option<&Path>, variables: Variables<'_>) -> Result<Self, ConfigError> {
        let layers = Layers::load(flags, home, variables)?;
        let ignored_keys = layers.ignored_keys();
        let file = layers.file.clone();
        let has_chosen_server = layers.have_hostname();
        // Its lowest layer has the defaults, so no other default is used below.
        let settings = layers.merged();
        Ok(Self {
            ignored_keys,
            has_chosen_server,
            hostname: settings.hostname.unwrap_or_default(),
            port: settings.port.unwrap_or_default(),
            tailnet: settings.tailnet,
            socket: settings.socket.map(PathBuf::from),
            proxy: settings.proxy,
            tag: settings.tag.unwrap_or_default(),
            merge: settings.merge.unwrap_or_default(),
            login: settings.login.unwrap_or_default(),
            identity: settings.identity.map(PathBuf::from),
            theme: settings.theme.unwrap_or_default(),
            long: settings.long.unwrap_or_default(),
            quiet: settings.quiet.unwrap_or_default(),
            no_eval: flags.no_eval,
            debug: settings.debug.unwrap_or_default(),
            timeout: flags.timeout.unwrap_or(TIMEOUT),
            file,
        })
    }

    /// The server that the settings name.
    pub(crate) fn server(&self) -> Result<Server, ConfigError> {
        Ok(Server::new(&self.hostname, self.port, self.tailnet.as_deref())?)
    }

    pub(crate) fn route(&self) -> RouteSettings {
        RouteSettings {
            proxy: self.proxy.clone(),
            socket: self.socket.clone(),
        }
    }

    /// A note about the ignored keys of the working directory's file, if there are any.
    pub(crate) fn ignored_keys_note(&self) -> Option<String> {
        let keys = self.ignored_keys.join(", ");
        (!keys.is_empty()).then(|| {
            format!(
                "{CWD_FILE} does not set {keys}, because files of the working directory may come from others; if it is yours, name \
                 it with --config or in {}",
                files::VARIABLE
            )
        })
    }
}

/// The route of requests to servers.
#[derive(Clone, Debug, Default)]
pub(crate) struct RouteSettings {
    /// The proxy that a user chose.
    pub(crate) proxy: Option<String>,
    /// tailscaled's socket, if it is not at the default path.
    pub(crate) socket: Option<PathBuf>,
}

/// The route, for commands that need no other settings. Settings that cannot be read count as unset.
pub(crate) fn route(flags: &Global, home: Option<&Path>, variables: Variables<'_>) -> RouteSettings {
    const ROUTE_VARIABLES: [&str; 3] = [files::VARIABLE, "TKA_TAILSCALE_PROXY", "TKA_TAILSCALE_SOCKET"];
    let only = |name: &str| variables(name).filter(|_| ROUTE_VARIABLES.contains(&name));
    let layers = Layers::load(flags, home, &only);
    let Layer { proxy, socket, .. } = layers.map(Layers::merged).unwrap_or_default();
    RouteSettings {
        proxy,
        socket: socket.map(PathBuf::from),
    }
}

#[cfg(test)]
mod tests {
    use super::files::FoundFile;
    use super::table::CwdPolicy;
    use super::*;
    use crate::net::proxy;

    const SERVERS_FILE: &str = "
otel: {endpoint: \"\", insecure: true}
tailscale: {hostname: cluster, port: 8080, stateDir: /var/lib/tka, tailnet: example.ts.net, capName: specht-labs.de/cap/tka}
server: {readTimeout: 10s}
clusterInfo: {labels: {1: one, yes: no}, configMapRef: {enabled: true}}
api: {retryAfterSeconds: 1}
";

    fn load(file: &str, variables: &[(&str, &str)], flags: &Global) -> Result<Config, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.yaml");
        std::fs::write(&path, file).unwrap();
        let flags = Global {
            config: Some(path),
            ..flags.clone()
        };
        Config::load(&flags, None, &proxy::tests::variables(variables))
    }

    fn problem(file: &str, variables: &[(&str, &str)]) -> String {
        let error = load(file, variables, &Global::default()).unwrap_err().to_string();
        match error.find("config.yaml") {
            Some(at) if error.starts_with('`') => {
                format!("{} in {}", error.split(" in ").next().unwrap_or_default(), &error[at..])
            }
            _ => error,
        }
    }

    #[test]
    fn nothing_configured_is_the_contracts_defaults() {
        let config = load("", &[], &Global::default()).unwrap();
        assert_eq!(config.server().unwrap().to_string(), "https://tka");
        assert_eq!(config.theme, Theme::TokyoNight);
        assert!(!config.long && !config.quiet && !config.has_chosen_server);
        assert_eq!(config.timeout, Duration::from_secs(30));
    }

    #[test]
    fn each_layer_wins_over_the_one_below() {
        let server = |variables: &[_], flags: &Global| {
            let config = load(SERVERS_FILE, variables, flags).unwrap();
            assert!(config.has_chosen_server);
            config.server().unwrap().to_string()
        };
        let none = Global::default();
        assert_eq!(server(&[], &none), "http://cluster.example.ts.net:8080");
        let variables = [("TKA_TAILSCALE_HOSTNAME", "env"), ("TKA_TAILSCALE_PORT", "443")];
        assert_eq!(server(&variables, &none), "https://env.example.ts.net");
        let flags = Global {
            server: Some("flag".into()),
            port: Some(81),
            ..none
        };
        assert_eq!(server(&variables, &flags), "http://flag.example.ts.net:81");
    }

    #[test]
    fn switches_are_read_as_the_original_reads_them() {
        let load = |file: &str, variable| load(file, &[variable], &Global::default()).unwrap();
        let config = load("output: {quiet: true, long: \"1\"}\ndebug: false", ("TKA_DEBUG", "T"));
        assert!(config.quiet && config.long && config.debug);
        let config = load("output: {quiet: true}", ("TKA_OUTPUT_QUIET", "0"));
        assert!(!config.quiet);
    }

    #[test]
    fn an_empty_variable_or_key_is_not_set() {
        let load = |file: &str, set: &[_]| load(file, set, &Global::default()).unwrap();
        let config = load("tailscale: {hostname: \"\", tailnet: }", &[("TKA_TAILSCALE_PORT", "")]);
        assert_eq!(config.server().unwrap().to_string(), "https://tka");
        load("# nothing\n", &[]);
        load("output:\n", &[]);
    }

    #[test]
    fn a_wrong_type_names_place_and_expectation() {
        let (port, switch) = ("a port from 1 to 65535", "true or false");
        let theme = "one of tokyo-night, ascii, dark, dracula, light, markdown, notty";
        let host = "a name in the tailnet, a full name, an address or a URL";
        let tailnet = "the tailnet's domain, such as example.ts.net";
        for (file, key, expected, found) in [
            ("tailscale: {port: many}", "tailscale.port", port, "\"many\""),
            ("tailscale: {port: 70000}", "tailscale.port", port, "70000"),
            ("tailscale: {port: 0443}", "tailscale.port", port, "0443"),
            ("tailscale: {port: 1e3}", "tailscale.port", port, "1e3"),
            ("tailscale: {port: 0}", "tailscale.port", port, "0"),
            ("tailscale: {hostname: [a]}", "tailscale.hostname", host, "a list"),
            ("tailscale: {tailnet: 5}", "tailscale.tailnet", tailnet, "5"),
            ("tailscale: tka", "tailscale", "a section of keys", "\"tka\""),
            ("output: {quiet: maybe}", "output.quiet", switch, "\"maybe\""),
            ("Tailscale: {Port: 0443}", "tailscale.port", port, "0443"),
            ("tailscale.port: 0443", "tailscale.port", port, "0443"),
            ("debug: {}", "debug", switch, "a section of keys"),
            ("output: {theme: pink}", "output.theme", theme, "\"pink\""),
        ] {
            let message = format!("`{key}` in config.yaml, line 1: expected {expected}, found {found}");
            assert_eq!(problem(file, &[]), message);
        }
        let message = format!("the environment variable TKA_TAILSCALE_PORT: expected {port}, found \"x\"");
        assert_eq!(problem("", &[("TKA_TAILSCALE_PORT", "x")]), message);
    }

    /// cases.md 5: what a file sets must not be passed over, or another server would be asked.
    #[test]
    fn misspelt_keys_are_told() {
        for (file, told) in [
            (
                "\ntailscale: {hostnam: x}",
                "line 2: there is no setting `tailscale.hostnam`",
            ),
            ("tailscal: {hostname: x}", "line 1: there is no setting `tailscal`"),
            ("output:\n  colour: x\n", "line 2: there is no setting `output.colour`"),
            (
                "tailscale: {port: 1}\ntailscale.port: 2\n",
                "line 2: `tailscale.port` is there twice",
            ),
        ] {
            let problem = problem(file, &[]);
            assert!(problem.ends_with(&format!("config.yaml, {told}")), "{problem}");
        }
    }

    #[test]
    fn what_is_not_yaml_says_where() {
        for text in ["tailscale: {port: 1", "tailscale: {{ .Values.x }}"] {
            let message = problem(text, &[]);
            assert!(message.contains("config.yaml is not YAML: "), "{message}");
            assert!(message.contains("line 1"), "{message}");
        }
        let message = problem("- a\n- b\n", &[]);
        assert!(
            message.ends_with("line 1: expected keys with values, found a list"),
            "{message}"
        );
    }

    #[test]
    fn a_wrong_value_is_found_by_its_line() {
        for (file, said) in [
            (
                "# mine\ntailscale:\n  # the port\n  port: many\n",
                "`tailscale.port` in config.yaml, line 4: ",
            ),
            ("debug: true\ntailscale:\n- a\n", "`tailscale` in config.yaml, line 3: "),
            (
                "a: 1\n\noutput: {\n  theme: pink}\n",
                "`output.theme` in config.yaml, line 4: ",
            ),
            (
                "\ntailscale: {proxy: \"gopher://x\"}",
                "`tailscale.proxy` in config.yaml, line 2: ",
            ),
        ] {
            let message = problem(file, &[]);
            assert!(message.starts_with(said), "{message}");
        }
    }

    #[test]
    fn a_named_file_must_be_there() {
        let flags = Global {
            config: Some("/nonexistent/tka.yaml".into()),
            ..Global::default()
        };
        let loaded = Config::load(&flags, None, &|_| None);
        assert!(matches!(loaded, Err(ConfigError::Unreadable { .. })));
    }

    /// What the working directory's file sets, and what it would set.
    fn cwd(text: &str) -> (Vec<&'static str>, Vec<&'static str>) {
        let file = FoundFile {
            path: CWD_FILE.into(),
            text: text.to_owned(),
        };
        let of = |what| {
            let layer = Layer::from_untrusted_file(&file, what);
            KEYS.into_iter().filter(|key| layer.get(key).is_some()).collect()
        };
        (of(CwdPolicy::Allowed), of(CwdPolicy::Refused))
    }

    /// cases.md 5: nothing in the working directory chooses a server, merges, silences, or names a socket, a proxy or a plugin.
    #[test]
    fn working_directory_sets_how_results_look_and_no_more() {
        let hostile = "
tailscale: {hostname: evil, port: 81, tailnet: evil.ts.net, socket: /tmp/s, proxy: http://evil:1, tag: tag:evil}
kubeconfig: {merge: true}
credential: {login: true}
recordings: {identity: /tmp/key}
output: {theme: ascii, long: true, quiet: true}
debug: true
";
        let may_set = ["output.theme", "output.long"];
        let refused: Vec<_> = KEYS.into_iter().filter(|key| !may_set.contains(key)).collect();
        assert_eq!(cwd(hostile), (may_set.to_vec(), refused));
    }

    #[test]
    fn another_programs_file_says_nothing() {
        for text in [
            "title: My page\noutput: dist\ndebug: true\n",
            "kubeconfig: /etc/rancher/k3s/k3s.yaml\n",
            "- a\n",
            "{{ not YAML",
            "tailscale: {",
            "tailscale: {port: many}",
            "output: {theme: pink, long: maybe}",
            "",
        ] {
            assert_eq!(cwd(text), (vec![], vec![]), "{text}");
        }
        assert_eq!(cwd("output: {theme: pink, long: true}").0, ["output.long"]);
    }

    #[test]
    fn ignored_keys_are_those_that_would_change_something() {
        let ignored_keys = |cwd: &str, trusted: &str, variables: &[(&str, &str)], flags: &Global| {
            let file = |text: &str| FoundFile {
                path: CWD_FILE.into(),
                text: text.to_owned(),
            };
            let layers = Layers {
                command_line: Layer::from(flags),
                variables: Layer::from_variables(&proxy::tests::variables(variables)).unwrap(),
                cwd: Layer::from_untrusted_file(&file(cwd), CwdPolicy::Allowed),
                cwd_refused: Layer::from_untrusted_file(&file(cwd), CwdPolicy::Refused),
                trusted: Layer::from_file(Path::new("x"), trusted).unwrap(),
                file: None,
            };
            layers.ignored_keys()
        };
        let none = Global::default();
        let evil = "tailscale: {hostname: evil}";
        assert_eq!(ignored_keys(evil, "", &[], &none), ["tailscale.hostname"]);
        assert_eq!(ignored_keys(evil, "tailscale: {hostname: good}", &[], &none).len(), 1);
        let twice = ignored_keys(evil, evil, &[], &none);
        assert!(twice.is_empty(), "it says what is in force");
        assert!(ignored_keys("tailscale: {hostname: tka, port: 443}", "", &[], &none).is_empty());
        assert!(ignored_keys("output: {theme: ascii, quiet: false}", "", &[], &none).is_empty());
        assert!(ignored_keys(evil, "", &[("TKA_TAILSCALE_HOSTNAME", "x")], &none).is_empty());
        let typed = Global {
            server: Some("x".into()),
            ..Global::default()
        };
        assert!(ignored_keys(evil, "", &[], &typed).is_empty());
    }

    /// What is named counts for every key, wherever it lies.
    #[test]
    fn named_file_counts_for_every_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.yaml");
        std::fs::write(&path, "credential: {login: true}\nkubeconfig: {merge: true}").unwrap();
        let named = |name: &str| (name == "TKA_CONFIG").then(|| path.display().to_string());
        let config = Config::load(&Global::default(), None, &named).unwrap();
        assert!(config.login && config.merge);
        let variables = [("TKA_CREDENTIAL_LOGIN", "0")];
        let config = load("credential: {login: true}", &variables, &Global::default());
        assert!(!config.unwrap().login);
    }

    #[test]
    fn relative_paths_and_proxies_that_are_none_are_refused() {
        let said = problem("tailscale: {socket: tailscaled.sock}", &[]);
        let expected = "expected an absolute path, found \"tailscaled.sock\"";
        assert!(said.ends_with(expected), "{said}");
        let said = problem("tailscale: {proxy: \"gopher://user:hunter2@host\"}", &[]);
        assert!(said.contains("tailscale.proxy") && !said.contains("hunter2"), "{said}");
    }

    #[test]
    fn the_first_file_of_the_search_path_is_read() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join(".config/tka");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("config.yaml"), "tailscale: {hostname: from-home}").unwrap();
        let config = Config::load(&Global::default(), Some(home.path()), &|_| None).unwrap();
        assert_eq!(config.hostname, "from-home");
        assert_eq!(config.file, Some(folder.join("config.yaml")));
    }
}
