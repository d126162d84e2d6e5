//! `tka completion`: what there is to choose among, as the real shells ask for it.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::fake_server::{Answer, FakeServer};
use crate::shells;
use crate::tailscaled::{Tailscaled, on_tailnet};
use crate::tka::{Outcome, User};

fn rules() -> Answer {
    let rule = |name: &str, role: &str| {
        json!({"name": name, "role": role, "namespaces": [], "period": "8h0m0s", "priority": 0, "require_reason": false,
               "default": false})
    };
    let items = [
        rule("oncall", "cluster-admin"),
        rule("daily", "view"),
        rule("x;id", "$(id)"),
    ];
    Answer::json(200, &json!({"items": items}))
}

fn sessions() -> Answer {
    let session = |name: &str| {
        json!({"name": name, "username": "alice@example.com", "device": "laptop.example.ts.net", "this_device": true,
               "role": "view", "namespaces": [], "provisioned": true,
               "signed_in": "2001-01-02T15:04:05Z", "until": "2999-01-02T15:04:05Z"})
    };
    Answer::json(
        200,
        &json!({"items": [session("tka-alice-one"), session("tka-alice-two")]}),
    )
}

/// A shell in the user's environment, with the program as `name` on its PATH.
fn shell(user: &User, fake: &FakeServer, shell: &Path, name: &str, script: &str) -> Command {
    let bin = user.home().join("bin");
    std::fs::create_dir_all(&bin).unwrap();
    symlink(env!("CARGO_BIN_EXE_tka"), bin.join(name)).unwrap();
    let mut command = shells::running(shell, script);
    let like = user.command_with(fake, &[]);
    command
        .env_clear()
        .envs(like.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command
        .env("PATH", format!("{}:/usr/bin:/bin", bin.display()))
        .env("TKA_TAILSCALE_SOCKET", "/nowhere");
    command
}

/// What bash offers for the last of `words`.
fn in_bash(fake: &FakeServer, name: &str, words: &[&str]) -> Vec<String> {
    let Some(bash) = shells::find("bash") else {
        return vec![];
    };
    let quoted: Vec<_> = words.iter().map(|word| format!("'{word}'")).collect();
    let (last, before) = (words.len() - 1, words.len() - 2);
    let script = format!(
        "source <({name} completion bash)
         COMP_WORDS=({}); COMP_CWORD={last}; COMP_TYPE=9
         complete -p {first} >/dev/null || exit 9
         _clap_complete_{function} '{first}' \"${{COMP_WORDS[{last}]}}\" \"${{COMP_WORDS[{before}]}}\"
         printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        quoted.join(" "),
        first = words[0],
        function = words[0].replace('-', "_"),
    );
    let outcome = Outcome::from(shell(&User::new(), fake, &bash, name, &script).output().unwrap());
    assert_eq!((outcome.status, outcome.stderr.as_str()), (0, ""), "{outcome:?}");
    outcome
        .stdout
        .lines()
        .filter(|line| !line.is_empty())
        .map(ToOwned::to_owned)
        .collect()
}

#[test]
fn what_there_is_is_offered() {
    let completed = |request: &str, answer: Answer, words: &[&str]| {
        let fake = FakeServer::new(&[(request, answer)]);
        let offered = in_bash(&fake, "tka", words);
        fake.requests();
        offered
    };
    assert_eq!(
        completed("GET /rules", rules(), &["tka", "login", "--rule", ""]),
        ["oncall", "daily"]
    );
    for command in ["exec", "elevate"] {
        assert_eq!(
            completed("GET /rules", rules(), &["tka", command, "--rule", "o"]),
            ["oncall"]
        );
    }
    assert_eq!(
        completed("GET /rules", rules(), &["tka", "-l", "login", "--role", "v"]),
        ["view"]
    );
    let sessions = completed("GET /sessions", sessions(), &["tka", "sessions", "end", ""]);
    assert_eq!(sessions[..2], ["tka-alice-one", "tka-alice-two"]);
}

#[test]
fn what_was_typed_before_counts() {
    let (elsewhere, fake) = (FakeServer::new(&[("GET /rules", rules())]), FakeServer::new(&[]));
    let port = elsewhere.address.port().to_string();
    let words = ["tka", "--port", &port, "login", "-s", "127.0.0.1", "--rule", "on"];
    assert_eq!(in_bash(&fake, "tka", &words), ["oncall"]);
    elsewhere.requests();
}

#[test]
fn commands_and_settings_are_completed_without_a_request() {
    let fake = FakeServer::new(&[]);
    assert_eq!(in_bash(&fake, "tka", &["tka", "cluster-"]), ["cluster-info"]);
    assert_eq!(
        in_bash(&fake, "tka", &["tka", "config", "tailscale.ta"]),
        ["tailscale.tailnet", "tailscale.tag"]
    );
    // The program of that name, and the function around it.
    assert_eq!(in_bash(&fake, "ts-k8s-auth", &["ts-k8s-auth", "ver"]), ["version"]);
    assert_eq!(in_bash(&fake, "ts-k8s-auth", &["tka", "ver"]), ["version"]);
}

#[test]
fn nothing_is_offered_and_nothing_said_when_asking_fails() {
    for answer in [Answer::Silence, Answer::html(502), Answer::Truncated] {
        let fake = FakeServer::new(&[("GET /rules", answer)]);
        let started = std::time::Instant::now();
        assert!(in_bash(&fake, "tka", &["tka", "login", "--rule", ""]).is_empty());
        assert!(started.elapsed().as_secs() < 10);
    }
    let user = User::new();
    let mut command = user.command(&["--", "tka", "login", "--rule", ""]);
    command
        .env("TKA_COMPLETE", "fish")
        .env("TKA_TAILSCALE_PORT", "none")
        .env("TKA_DEBUG", "true");
    let outcome = Outcome::from(command.output().unwrap());
    assert_eq!(
        (outcome.stdout.as_str(), outcome.stderr.as_str(), outcome.status),
        ("", "", 0)
    );
    let mut command = user.command(&["version"]);
    let outcome = Outcome::from(command.env("TKA_COMPLETE", "tcsh").output().unwrap());
    assert_eq!(
        (outcome.stdout.as_str(), outcome.stderr.as_str(), outcome.status),
        ("", "", 1)
    );
}

#[test]
fn clusters_and_servers_are_offered_without_asking_them() {
    let tailscaled = Tailscaled::new(&on_tailnet());
    let offered = |words: &[&str]| {
        let user = User::new();
        let mut command = user.command(&[&["--"], words].concat());
        command
            .env("TKA_COMPLETE", "fish")
            .env("TKA_TAILSCALE_SOCKET", tailscaled.socket());
        let outcome = Outcome::from(command.output().unwrap());
        assert_eq!((outcome.stderr.as_str(), outcome.status), ("", 0));
        outcome.stdout
    };
    assert_eq!(
        offered(&["tka", "clusters", "use", "t"]),
        "tka\thttps://tka.example.ts.net\n"
    );
    assert_eq!(
        offered(&["tka", "login", "--server", "tka."]),
        "tka.example.ts.net\ttka\n"
    );
}

#[test]
fn fish_and_zsh_ask_too() {
    for (name, script) in [
        ("fish", "tka completion fish | source; complete --do-complete 'tka login --rule o'"),
        (
            "zsh",
            // Completion proper needs a terminal; what it runs then does not.
            "autoload -U compinit; compinit -D; source <(tka completion zsh); (( $+functions[_clap_dynamic_completer_tka] )) || exit 9
             TKA_COMPLETE=zsh _CLAP_COMPLETE_INDEX=3 _CLAP_IFS=$'\\n' tka -- tka login --rule o",
        ),
    ] {
        let Some(path) = shells::find(name) else { continue };
        let fake = FakeServer::new(&[("GET /rules", rules())]);
        let outcome = Outcome::from(shell(&User::new(), &fake, &path, "tka", script).output().unwrap());
        assert!(outcome.status == 0 && outcome.stdout.starts_with("oncall"), "{name}: {outcome:?}");
        fake.requests();
    }
}

#[test]
fn kubectl_asks_in_its_own_way() {
    let fake = FakeServer::new(&[("GET /rules", rules())]);
    let user = User::new();
    let link = user.home().join("kubectl_complete-tka");
    symlink(env!("CARGO_BIN_EXE_tka"), &link).unwrap();
    let like = user.command_with(&fake, &[]);
    let mut command = Command::new(&link);
    command
        .env_clear()
        .envs(like.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let outcome = Outcome::from(command.args(["login", "--rule", ""]).output().unwrap());
    assert_eq!(
        outcome.stdout, "oncall\tcluster-admin\ndaily\tview\n:4\n",
        "{outcome:?}"
    );
}

#[test]
fn scripts_of_shells_that_are_not_tried_here() {
    for shell in ["powershell", "elvish", "nushell"] {
        let user = User::new();
        let outcome = user.run(&["completion", shell]);
        assert_eq!(outcome.status, 0);
        let script = outcome.stdout.replace(env!("CARGO_BIN_EXE_tka"), "BIN/tka");
        insta::assert_snapshot!(format!("completion_{shell}"), script);
    }
}
