//! `tka exec` and `tka shell`: a session for one command, and nothing of it afterwards.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use e2e::user::ALICE;
use e2e::{Outcome, World, rule};
use rustix::process::{Pid, Signal, kill_process};

crate::tests![
    command_has_access_and_leaves_only_other_sessions,
    two_commands_at_once_do_not_meet,
    command_that_is_told_to_end_takes_its_session_along,
];

fn command_has_access_and_leaves_only_other_sessions(world: &World) -> Outcome {
    let site = world.site("cli-exec")?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let alice = site.person("ALICE")?;
    let said = alice.tka(&["exec", "--", "kubectl", "get", "namespaces"])?.expect(0)?;
    assert!(said.out.contains("kube-system"), "{said:?}");
    assert_eq!(said.err, "");
    assert_eq!(site.counts()?, [0, 0, 0]);
    assert!(!alice.home().join(".kube/tka").exists(), "but kubectl's own cache");

    let kubeconfig = alice.login()?;
    let before = alice.files()?;
    let said = alice
        .tka(&["shell", "-c", "kubectl get namespaces --output name; exit 3"])?
        .expect(3)?;
    assert!(said.out.contains("namespace/kube-system"), "{said:?}");
    assert_eq!(alice.files()?, before);
    alice.kubectl(&kubeconfig, &["get", "namespaces"])?.expect(0)?;
    assert_eq!(site.counts()?, [1, 1, 1]);
    alice.tka(&["logout"])?.expect(0)?;
    assert_eq!(site.counts()?, [0, 0, 0]);
    Ok(())
}

fn two_commands_at_once_do_not_meet(world: &World) -> Outcome {
    let site = world.site("cli-exec-two")?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let alice = site.person("ALICE")?;
    // The inner one ends first, and the outer one's access is still there.
    let said = alice
        .tka(&[
            "exec",
            "--",
            "/bin/sh",
            "-c",
            "tka exec -- kubectl get ns -o name && tka sessions -o name && kubectl get ns",
        ])?
        .expect(0)?;
    let names = said.out.lines().filter(|line| line.starts_with("tka-alice-"));
    assert_eq!(names.count(), 1, "{said:?}");
    assert_eq!(site.counts()?, [0, 0, 0]);
    Ok(())
}

fn command_that_is_told_to_end_takes_its_session_along(world: &World) -> Outcome {
    let site = world.site("cli-exec-killed")?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let alice = site.person("ALICE")?;
    let mut tka = alice
        .typed(&["exec", "--", "/bin/sh", "-c", "echo running; exec /bin/sleep 600"])
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    BufReader::new(tka.stdout.as_mut().ok_or("no output")?).read_line(&mut line)?;
    assert_eq!((line.as_str(), site.counts()?), ("running\n", [1, 1, 1]));
    kill_process(Pid::from_child(&tka), Signal::TERM)?;
    assert_eq!(tka.wait()?.code(), Some(128 + 15));
    assert_eq!((site.counts()?, alice.files()?), ([0, 0, 0], vec![]));
    Ok(())
}
