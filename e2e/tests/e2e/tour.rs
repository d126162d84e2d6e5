//! The tour of the command line that its README gives: every command in it, as it stands there, in one shell.

use std::fs;
use std::path::Path;

use e2e::person::{Person, Said};
use e2e::user::ALICE;
use e2e::{Outcome, Site, World, files, wait};
use serde_json::{Value, json};
use testbed::{ServerOptions, with_gateway};

crate::tests![
    commands_of_the_readme_do_what_it_says,
    commands_of_the_book_do_what_it_says,
    kubectl_has_it_as_a_plugin_and_completes_it,
];

const README: &str = include_str!("../../../crates/tka-cli/README.md");
/// The pages of the documentation's site.
const BOOK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/book/src");
/// How a comment before a block begins that is not run here. The reason follows.
const NOT_RUN: &str = "<!-- not run: ";

/// A command, and what the README says that comes of it.
#[derive(Debug)]
struct Step {
    typed: String,
    shown: Vec<String>,
}

// === impl Step ===

impl Step {
    /// The commands of all `console` blocks, in their order, but for blocks before which a comment says why they are not run.
    fn all(text: &str) -> Vec<Self> {
        let mut steps: Vec<Self> = vec![];
        let (mut in_block, mut is_run, mut is_excused) = (false, false, false);
        for line in text.lines() {
            if let Some(language) = line.trim_start().strip_prefix("```") {
                in_block = !in_block;
                is_run = in_block && language == "console" && !is_excused;
                is_excused = false;
            } else if !in_block && !line.trim().is_empty() {
                is_excused = line.trim_start().starts_with(NOT_RUN);
            } else if is_run {
                Self::read(line.trim_start(), &mut steps);
            }
        }
        steps
    }

    fn read(line: &str, steps: &mut Vec<Self>) {
        match (line.strip_prefix("$ "), steps.last_mut()) {
            (Some(typed), _) => steps.push(Self {
                typed: typed.to_owned(),
                shown: vec![],
            }),
            (None, Some(step)) => step.shown.push(line.to_owned()),
            (None, None) => {}
        }
    }

    /// What is marked as having gone wrong also ends so.
    fn should_fail(&self) -> bool {
        self.shown.iter().any(|line| line.starts_with('✗'))
    }

    /// Fails unless it ended as it should, and its output has a line for each of `shown`, in their order. Such a line begins with
    /// the same words, up to what differs from day to day.
    fn check(&self, said: &Said) -> Outcome {
        let fails = said.status != Some(0);
        if fails != self.should_fail() {
            return Err(format!("`{}` ended with {:?}:\n{}", self.typed, said.status, said.out).into());
        }
        let mut came = said.out.lines();
        for line in self.shown.iter().filter(|line| *line != "…") {
            let expected = beginning(line);
            if !came.any(|one| words(one).take(expected.len()).eq(expected.iter().copied())) {
                return Err(format!("`{}` does not say `{line}`:\n{}", self.typed, said.out).into());
            }
        }
        Ok(())
    }
}

/// The words before times, names of machines and places, and two at least.
fn beginning(line: &str) -> Vec<&str> {
    let differs = |word: &str| word.contains(|c: char| c.is_ascii_digit() || "./@=".contains(c));
    let stable = line.split_whitespace().take_while(|word| !differs(word)).count();
    words(line).take(stable.max(2)).collect()
}

/// The words of a line, addresses and names of sessions aside.
fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split_whitespace().map(|word| match word {
        word if word.contains("://") => "ADDRESS",
        word if word.starts_with("tka-alice-") => "SESSION",
        word => word,
    })
}

fn commands_of_the_readme_do_what_it_says(world: &World) -> Outcome {
    let site = |name| {
        let mut options = ServerOptions::new(name);
        options.config = with_gateway();
        world.site_with(options)
    };
    let (tka, west) = (site("tour")?, site("tour-west")?);
    for site in [&tka, &west] {
        site.grant(&rules())?;
    }
    world
        .testbed
        .apply("{apiVersion: v1, kind: Namespace, metadata: {name: shop}}")?;
    let alice = tka.person("ALICE")?;
    let (here, there) = (name(&tka)?, name(&west)?);
    write_settings(world, &alice, &tka)?;
    // Known to her device, since nothing tells it the other server's port.
    let server = west.server.url();
    alice.tka(&["login", "--server", &server])?.expect(0)?;

    let steps = Step::all(README);
    assert!(steps.len() > 20, "{steps:?}");
    let typed: Vec<_> = steps
        .iter()
        .map(|step| step.typed.replace(" west", &format!(" {there}")))
        .collect();
    let said = in_one_shell(&alice, &typed)?;
    for (step, mut said) in steps.iter().zip(said) {
        said.out = said.out.replace(&there, "west").replace(&here, "tka");
        step.check(&said)?;
    }
    for site in [&tka, &west] {
        let server = site.server.url();
        alice
            .tka(&["sessions", "end", "--all", "--server", &server])?
            .expect(0)?;
        site.wait_empty()?;
    }
    Ok(())
}

/// Each page has a shell of its own.
fn commands_of_the_book_do_what_it_says(world: &World) -> Outcome {
    let site = world.site("book")?;
    site.grant(&rules())?;
    let alice = site.person("ALICE")?;
    write_settings(world, &alice, &site)?;
    let mut pages = 0;
    let mut all = files::below(Path::new(BOOK))?;
    all.sort();
    for page in all {
        let steps = Step::all(&read(&page)?);
        let typed: Vec<_> = steps.iter().map(|step| step.typed.clone()).collect();
        let said = in_one_shell(&alice, &typed)?;
        for (step, said) in steps.iter().zip(&said) {
            step.check(said)
                .map_err(|error| format!("{}: {error}", page.display()))?;
        }
        pages += usize::from(!steps.is_empty());
    }
    assert!(pages >= 3, "{pages} pages of {BOOK} have commands");
    site.wait_empty()
}

fn rules() -> [(&'static str, Value); 3] {
    [
        (
            ALICE,
            json!({"name": "daily", "role": "view", "period": "8h", "priority": 100}),
        ),
        (
            ALICE,
            json!({"name": "oncall", "role": "cluster-admin", "period": "8h", "priority": 50, "require_reason": true}),
        ),
        (
            ALICE,
            json!({"role": "edit", "period": "1h", "priority": 10, "namespaces": ["shop"]}),
        ),
    ]
}

/// What the server is called where its node has several.
fn name(site: &Site<'_>) -> Outcome<String> {
    let url = site.server.url();
    let (_, port) = url.rsplit_once(':').ok_or("no port")?;
    Ok(format!("tka:{port}"))
}

/// What a person on a tailnet with a server called `tka` at the usual port need not set.
fn write_settings(world: &World, person: &Person, site: &Site<'_>) -> Outcome {
    let url = site.server.url();
    let (host, port) = url.trim_start_matches("http://").rsplit_once(':').ok_or("no port")?;
    let socket = world.testbed.node("ALICE")?.socket().display().to_string();
    let settings = json!({"tailscale": {"hostname": host, "port": port.parse::<u16>()?, "socket": socket}});
    let folder = person.home().join(".config/tka");
    fs::create_dir_all(&folder)?;
    Ok(fs::write(folder.join("config.yaml"), settings.to_string())?)
}

/// Types `commands` one after the other into one bash. What came on both streams is in `out`.
fn in_one_shell(person: &Person, commands: &[String]) -> Outcome<Vec<Said>> {
    let folder = tempfile::tempdir()?;
    let place = |number: usize| folder.path().join(number.to_string());
    let run = |(number, command): (usize, &String)| {
        let place = place(number).display().to_string();
        format!("{{ {command}\n}} >{place} 2>&1 </dev/null\necho $? >{place}.status\n")
    };
    let script: String = commands.iter().enumerate().map(run).collect();
    let path = folder.path().join("script");
    fs::write(&path, script)?;
    let status = person.bash(&path).status()?;
    if !status.success() {
        return Err(format!("the shell ended with {status}").into());
    }
    let said = |number: usize| -> Outcome<Said> {
        let place = place(number);
        Ok(Said {
            status: Some(read(&place.with_extension("status"))?.trim().parse()?),
            out: read(&place)?,
            err: String::new(),
        })
    };
    (0..commands.len()).map(said).collect()
}

fn read(path: &Path) -> Outcome<String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()).into())
}

fn kubectl_has_it_as_a_plugin_and_completes_it(world: &World) -> Outcome {
    let site = world.site("kubectl-plugin")?;
    site.grant(&rules())?;
    let alice = site.person("ALICE")?;
    write_settings(world, &alice, &site)?;
    let link = |name: &str| format!("ln -s \"$(type -P tka)\" ~/.local/bin/{name}");
    let commands = [
        "mkdir -p ~/.local/bin".to_owned(),
        link("kubectl-tka"),
        link("kubectl_complete-tka"),
        "kubectl tka sessions end --help".to_owned(),
        "kubectl tka login --quiet --no-eval --role view".to_owned(),
        "kubectl tka get login -o name".to_owned(),
        "kubectl __complete tka login --rule '' 2>/dev/null".to_owned(),
        "kubectl __complete tka sess 2>/dev/null".to_owned(),
        "kubectl tka logout".to_owned(),
        "kubectl tka get login".to_owned(),
    ];
    let said = in_one_shell(&alice, &commands)?;
    let out = |number: usize| said[number].out.as_str();
    let status: Vec<_> = said.iter().map(|said| said.status).collect();
    assert_eq!(status, [vec![Some(0); 9], vec![Some(3)]].concat(), "{said:?}");
    assert!(out(3).contains("Usage: kubectl tka sessions end"), "{said:?}");
    assert_eq!(out(5), format!("{ALICE}\n"));
    assert!(out(6).starts_with("daily\tview\noncall\tcluster-admin\n:4"), "{said:?}");
    assert!(out(7).starts_with("sessions\t"), "{said:?}");
    wait::until_true("nothing is left", || Ok(site.counts()? == [0, 0, 0]))
}
