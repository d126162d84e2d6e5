//! The command line: help, version, completion, mistakes.

use clap::CommandFactory;

use crate::tka::User;

/// The words of every command, the program's own none first.
fn commands() -> Vec<Vec<String>> {
    fn below(command: &clap::Command, words: &[String], all: &mut Vec<Vec<String>>) {
        all.push(words.to_vec());
        for next in command.get_subcommands().filter(|next| !next.is_hide_set()) {
            let words = [words, &[next.get_name().to_owned()]].concat();
            below(next, &words, all);
        }
    }
    let mut all = Vec::new();
    below(&tka_cli::Cli::command(), &[], &mut all);
    all
}

/// `docs/cli.md` has the texts, and is checked against the command.
#[test]
fn help_of_every_command() {
    for words in commands() {
        let mut arguments: Vec<&str> = words.iter().map(String::as_str).collect();
        arguments.push("--help");
        let outcome = User::new().run(&arguments);
        assert_eq!((outcome.status, outcome.stderr.as_str()), (0, ""), "{words:?}");
        let usage = [vec!["Usage: tka".to_owned()], words].concat().join(" ");
        assert!(outcome.stdout.contains(&usage), "{usage}: {}", outcome.stdout);
    }
}

#[test]
fn without_a_command_help_is_shown() {
    for arguments in [&[][..], &[""]] {
        let outcome = User::new().run(arguments);
        assert_eq!(outcome.status, 0);
        assert!(outcome.stdout.contains("Usage: tka"), "{outcome:?}");
        assert!(outcome.stdout.contains("Exit status:"), "{outcome:?}");
    }
}

/// The original's shell function evaluates what comes on standard output.
#[test]
fn help_does_not_come_where_it_would_be_evaluated() {
    let outcome = User::new().run(&["login", "--quiet", "-h"]);
    assert_eq!((outcome.stdout.as_str(), outcome.status), ("", 0));
    assert!(outcome.stderr.contains("Usage: tka login"), "{outcome:?}");
}

#[test]
fn the_version_needs_no_server() {
    let expected = format!("tka {} (protocol v1alpha1)\n", env!("CARGO_PKG_VERSION"));
    for arguments in [&["version"][..], &["--version"], &["-V"]] {
        let outcome = User::new().run(arguments);
        let without_commit = match (outcome.stdout.find("commit "), outcome.stdout.find("protocol")) {
            (Some(start), Some(end)) => outcome.stdout[..start].to_owned() + &outcome.stdout[end..],
            _ => outcome.stdout.clone(),
        };
        assert_eq!((without_commit, outcome.status), (expected.clone(), 0));
    }
}

#[test]
fn the_version_for_programs() {
    let said = |form: &str| User::new().run(&["version", "-o", form, "--config", "/nowhere"]).stdout;
    let json: serde_json::Value = serde_json::from_str(&said("json")).unwrap();
    assert_eq!(
        (&json["version"], &json["protocol"]),
        (&env!("CARGO_PKG_VERSION").into(), &"v1alpha1".into())
    );
    assert!(said("yaml").contains("protocol: v1alpha1\n"));
    assert_eq!(said("name"), concat!(env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn mistakes_on_the_command_line() {
    for (name, arguments) in [
        ("unknown_command", &["lgoin"][..]),
        ("unknown_flag", &["login", "--force"]),
        ("wrong_port", &["login", "--port", "0"]),
        ("wrong_theme", &["login", "--theme", "pink"]),
        ("wrong_timeout", &["login", "--timeout", "soon"]),
        ("unexpected_argument", &["login", "now"]),
        ("missing_subcommand", &["get"]),
        ("missing_shell", &["completion"]),
    ] {
        let outcome = User::new().run(arguments);
        // A shell evaluates what `tka login` prints, also where that word is misspelt.
        let stdout = if ["login", "lgoin"].contains(&arguments[0]) {
            "false\n"
        } else {
            ""
        };
        assert_eq!((outcome.status, outcome.stdout.as_str()), (2, stdout), "{name}");
        insta::assert_snapshot!(name, outcome.stderr);
    }
}

#[test]
fn it_answers_to_the_name_it_is_called_by() {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("ts-k8s-auth");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_tka"), &link).unwrap();
    let output = std::process::Command::new(&link)
        .args(["login", "-h"])
        .output()
        .unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    assert!(help.contains("Usage: ts-k8s-auth login"), "{help}");
}

#[test]
fn as_a_plugin_of_kubectl_it_says_what_is_typed() {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("kubectl-tka");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_tka"), &link).unwrap();
    let say = |arguments: &[&str]| {
        let output = std::process::Command::new(&link).args(arguments).output().unwrap();
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    };
    for (arguments, usage) in [
        (&[][..], "Usage: kubectl tka [OPTIONS] [COMMAND]"),
        (&["--help"], "Usage: kubectl tka [OPTIONS] [COMMAND]"),
        (&["sessions", "end", "-h"], "Usage: kubectl tka sessions end"),
        (&["sessions", "end"], "Usage: kubectl tka sessions end"),
    ] {
        let said = say(arguments);
        assert!(said.contains(usage), "{said}");
    }
}
