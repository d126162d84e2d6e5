//! A shell in a pod, which ends with its session and is seen by those who must see it.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    path::PathBuf,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use testbed::{Server, ServerOptions, Testbed, with_recordings};

use super::{
    person::Person,
    stage::{Stage, Told},
};

/// How long a shell may outlive its session, and some for kubectl to end.
const SOON: Duration = Duration::from_secs(2);
/// What carol types in the pod.
const TYPED: &str = "hostname; echo I was here\n";
/// A pod to go into.
const POD: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: default}
spec:
  terminationGracePeriodSeconds: 1
  containers:
    - {name: web, image: "localhost/shell:testbed", imagePullPolicy: Never, command: [sleep, infinity]}
"#;

/// The server, and the people.
struct Scene {
    /// It ends with this.
    server: Server,
    alice: Person,
    carol: Person,
    /// The kubeconfig that the team has committed.
    file: PathBuf,
}

/// Tells how carol goes into a pod, how that ends, and who sees it.
pub(super) fn tell(stage: &mut Stage, testbed: &Testbed) {
    let Some(scene) = stage.step("a pod runs, and a rule lets carol into it if that is recorded", || {
        scene(testbed)
    }) else {
        return;
    };
    stage.step(
        "she opens a shell in it, her rule is taken away, and the shell ends",
        || shell_ends(testbed, &scene),
    );
    stage.step("alice, who has oversight, plays the recording", || played(&scene.alice));
    stage.step("the pod goes, and nothing of carol is left", || {
        testbed.kubectl(&["delete", "pod", "web", "--namespace=default"])?;
        let namespace = format!("--namespace={}", scene.server.namespace());
        let left = testbed.kubectl(&["get", "tkasignins", "--output=name", &namespace])?;
        if left.contains("carol") {
            return Err(format!("this is left:\n{left}").into());
        }
        Ok(((), String::new()))
    });
}

fn scene(testbed: &Testbed) -> Told<Scene> {
    let folder = testbed.dir().join("shells");
    // Recordings of an earlier story are none of this one.
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    testbed.apply(POD)?;
    testbed.kubectl(&[
        "wait",
        "--for=condition=Ready",
        "pod/web",
        "--namespace=default",
        "--timeout=60s",
    ])?;
    let mut options = ServerOptions::new("shells");
    options.roles = vec!["view".into(), "edit".into()];
    options.config = with_recordings(&folder);
    let server = testbed.server(options)?;
    let rule = json!({"role": "edit", "period": "1h", "sign_in": "on_use", "recording": "required"});
    grant(testbed, &server, Some(&rule))?;
    let oversight = json!([{"src": ["alice@example.com"], "rules": [{"recordings": true}]}]);
    testbed.set_grants(&format!("{}-oversight", server.capability()), oversight)?;
    let person = |name| Person::of_server(testbed, &testbed.node(name)?, &server);
    let (alice, carol) = (person("ALICE")?, person("CAROL")?);
    let printed = alice.tka(&["kubeconfig", "--static"])?.success()?;
    let file = carol.home().join("shells.yaml");
    fs::write(&file, &printed.out)?;
    let scene = Scene {
        server,
        alice,
        carol,
        file,
    };
    Ok((scene, rule.to_string()))
}

/// Gives carol the rule, or takes it away. Alice may look.
fn grant(testbed: &Testbed, server: &Server, rule: Option<&Value>) -> testbed::Result<()> {
    let alice = json!({"src": ["alice@example.com"], "rules": [{"role": "view", "period": "1h"}]});
    let carol = rule.map(|rule| json!({"src": ["carol@example.com"], "rules": [rule]}));
    let grants: Vec<_> = std::iter::once(alice).chain(carol).collect();
    testbed.set_grants(server.capability(), json!(grants))
}

fn shell_ends(testbed: &Testbed, scene: &Scene) -> Told<()> {
    let args = ["exec", "--stdin", "web", "--namespace=default", "--", "sh"];
    let mut shell = scene.carol.begin_typing(&scene.file, &args)?;
    let mut input = shell.stdin.take().ok_or("kubectl has no input")?;
    let mut output = BufReader::new(shell.stdout.take().ok_or("kubectl has no output")?);
    input.write_all(TYPED.as_bytes())?;
    let mut said = String::new();
    for _ in TYPED.split(';') {
        output.read_line(&mut said)?;
    }
    grant(testbed, &scene.server, None)?;
    wait_for_the_end(testbed, &scene.server)?;
    let since = Instant::now();
    output.read_to_string(&mut said)?;
    let status = shell.wait()?;
    let took = since.elapsed();
    if took > SOON || !said.contains("I was here") {
        return Err(format!("the shell ended {took:?} after the session, and said {said:?}").into());
    }
    let line = format!("carol$ kubectl {}", args.join(" "));
    Ok((
        (),
        format!(
            "{line}\n{said}the shell ended {} ms after the session, with {status}",
            took.as_millis()
        ),
    ))
}

/// Returns when carol's session is gone.
fn wait_for_the_end(testbed: &Testbed, server: &Server) -> testbed::Result<()> {
    let namespace = format!("--namespace={}", server.namespace());
    let names = testbed.kubectl(&["get", "tkasignins", "--output=name", &namespace])?;
    for name in names.lines().filter(|name| name.contains("carol")) {
        testbed.kubectl(&["wait", "--for=delete", name, &namespace, "--timeout=90s"])?;
    }
    Ok(())
}

fn played(alice: &Person) -> Told<()> {
    let listed = alice.tka(&["recordings", "list", "--output", "name"])?.success()?;
    let id = listed.out.lines().next().ok_or("there is no recording")?;
    let played = alice
        .tka(&["recordings", "play", id, "--speed", "100", "--idle", "0.1"])?
        .success()?;
    if !played.out.contains("I was here") {
        return Err(format!("what carol saw is not in it\n{}", played.shown()).into());
    }
    let table = alice.tka(&["recordings", "list"])?.success()?;
    Ok(((), format!("{}\n{}", table.shown(), played.shown())))
}
