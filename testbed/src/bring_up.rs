//! Bringing a testbed up and down.

use std::{
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use crate::{
    CAPABILITY, Testbed,
    cluster::{self, node},
    env_file,
    error::{Error, Result},
    facts::Facts,
    files::{self, Lock},
    http::{self, Answer},
    layout::Layout,
    pki, ports,
    processes::Processes,
    programs::{self, Part, Programs},
    progress::{say, seconds, step},
    server::{self, PodOptions, Pods, Seen, Server, ServerOptions},
    tailnet::{self, Node, Owner},
    wait::{self, Look},
};

/// How long the first request of a node to the server may take: the two must find each other first.
const REACH_LIMIT: Duration = Duration::from_mins(1);
/// How long a server may take to end what it is doing.
const SERVER_STOP_LIMIT: Duration = Duration::from_secs(10);
/// How long any other part may take to end by itself: nothing of it will be needed again.
const STOP_LIMIT: Duration = Duration::from_secs(2);

/// What to bring up.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where everything of it is kept.
    pub dir: PathBuf,
    /// The namespace of the server's sessions.
    pub namespace: String,
    /// The `tka-server` to run.
    pub server_program: PathBuf,
    /// The `tka` to put beside kubectl.
    pub cli_program: Option<PathBuf>,
    /// The Kubernetes node, if there is to be one.
    pub node: Option<NodeOptions>,
}

/// A node on which pods run, the server's among them.
#[derive(Debug, Clone)]
pub struct NodeOptions {
    /// The program `testbed-sandbox` of this package.
    pub sandbox_program: PathBuf,
    /// Archives of the images that pods run, as `cargo xtask image` writes them.
    pub images: Vec<PathBuf>,
    /// The repository and the tag of the server's image, which is among them.
    pub server_image: (String, String),
}

impl Options {
    /// A testbed in `dir` with the namespace that a server has by default.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>, server_program: impl Into<PathBuf>) -> Self {
        let (dir, server_program) = (dir.into(), server_program.into());
        Self {
            dir,
            namespace: "tka-dev".to_owned(),
            server_program,
            cli_program: None,
            node: None,
        }
    }
}

/// Builds every program that is not there yet: minutes the first time on a machine, nothing after that.
pub fn prepare(part: Part) -> Result<()> {
    Programs::resolve(part).map(|_| ())
}

/// [`Testbed::up`].
pub(crate) fn up(options: &Options) -> Result<Testbed> {
    let start = Instant::now();
    let layout = Layout::create(&options.dir)?;
    let _lock = Lock::acquire(&layout.lock())?;
    if options.node.is_some() {
        node::check_requirements()?;
    }
    link_programs(&layout, options)?;
    if !layout.facts().exists() {
        // Of a testbed whose folder was removed while it was up.
        end_all(&layout)?;
    }
    let facts = Facts::ensure(
        &layout,
        &options.namespace,
        &options.server_program,
        options.node.is_some(),
    )?;
    for dir in [layout.logs(), layout.data(""), layout.nodes()] {
        files::create_private_dir(&dir)?;
    }
    pki::ensure(&layout)?;
    let testbed = Testbed { layout, facts };
    let images = options.node.as_ref().map(|node| node.images.as_slice());
    start_both_halves(&testbed, images.unwrap_or_default())?;
    match &options.node {
        None => start_beside(&testbed)?,
        Some(node) => start_in_pods(&testbed, node)?,
    }
    say(&format!(
        "all of it is up in {} ({})",
        testbed.dir().display(),
        seconds(start.elapsed())
    ));
    Ok(testbed)
}

/// The server as a process of this machine.
fn start_beside(testbed: &Testbed) -> Result<()> {
    files::create_private_dir(&testbed.layout.recordings())?;
    let server = step("the chart is installed", || {
        Server::create(testbed, main_server(testbed))
    })?;
    server.start()?;
    env_file::write(testbed, &server.url(), &server.seen()?)?;
    reach(testbed, &server.url())
}

/// The server as the chart runs it.
fn start_in_pods(testbed: &Testbed, node: &NodeOptions) -> Result<()> {
    let (repository, tag) = &node.server_image;
    let ServerOptions { roles, .. } = main_server(testbed);
    let options = PodOptions {
        namespace: &testbed.facts.namespace,
        capability: CAPABILITY,
        roles: &roles,
        image: (repository, tag),
    };
    let pods = step("the chart's pods are ready", || Pods::ensure(testbed, &options))?;
    let urls = pods.urls();
    let url = urls.first().map_or("", String::as_str);
    env_file::write(testbed, url, &Seen::in_pod(testbed)?)?;
    reach(testbed, url)
}

/// Ends every process of the testbed in a folder, also after a crash, and removes everything but the logs. Says whether
/// there was anything to end or remove.
pub fn down(dir: &Path) -> Result<bool> {
    let layout = Layout::of(dir)?;
    // Without a folder there is nothing to lock, and no other process to lock out.
    let _lock = layout
        .dir()
        .exists()
        .then(|| Lock::acquire(&layout.lock()))
        .transpose()?;
    let ended = end_all(&layout)?;
    let facts = files::read_json::<Facts>(&layout.facts())?;
    if let Some(facts) = &facts {
        files::remove(&facts.sockets)?;
        ports::give_back(&layout)?;
        layout.clear()?;
    }
    Ok(ended || facts.is_some())
}

/// Ends every process of a testbed, and says whether there was any.
fn end_all(layout: &Layout) -> Result<bool> {
    let processes = Processes::find(layout)?;
    let parts: Vec<_> = processes.parts().collect();
    // Servers still have something to say to the cluster, so they go first.
    let (servers, others): (Vec<_>, Vec<_>) = parts.iter().partition(|part| part.starts_with("tka-server"));
    processes.stop(&servers, SERVER_STOP_LIMIT)?;
    if processes.has(node::SANDBOX) {
        // Pods end with the namespaces that they are in.
        processes.kill(&node::PARTS)?;
    }
    node::remove_groups(layout)?;
    let others: Vec<_> = others
        .into_iter()
        .filter(|part| !cluster::STOP_ORDER.contains(part))
        .collect();
    processes.stop(&others, STOP_LIMIT)?;
    for part in cluster::STOP_ORDER {
        processes.stop(&[part], STOP_LIMIT)?;
    }
    // What one of them started while it was told to end.
    let left = Processes::find(layout)?;
    left.kill(&left.parts().collect::<Vec<_>>())?;
    Ok(!parts.is_empty())
}

fn link_programs(layout: &Layout, options: &Options) -> Result<()> {
    let own = [
        ("tka-server", Some(&options.server_program)),
        ("tka", options.cli_program.as_ref()),
    ];
    for (name, path) in own.iter().filter_map(|(name, path)| Some((name, (*path)?))) {
        if !path.exists() {
            let package = if *name == "tka" { "tka-cli" } else { name };
            return Err(Error::NotBuilt {
                path: path.clone(),
                package: package.to_owned(),
            });
        }
    }
    let part = options.node.as_ref().map_or(Part::Core, |_| Part::KubernetesNode);
    Programs::resolve(part)?.link(layout)?;
    for (name, path) in own.iter().filter_map(|(name, path)| Some((name, (*path)?))) {
        programs::link(&layout.program(name), path)?;
    }
    match &options.node {
        Some(node) => programs::link(&layout.node_bin().join(node::PROGRAM), &node.sandbox_program),
        None => Ok(()),
    }
}

/// The cluster and the tailnet know nothing of each other, so they start side by side.
fn start_both_halves(testbed: &Testbed, images: &[PathBuf]) -> Result<()> {
    let Testbed { layout, facts } = testbed;
    let running = Processes::find(layout)?;
    thread::scope(|scope| {
        let cluster = scope.spawn(|| cluster::ensure(layout, facts, &running, images));
        let tailnet = start_tailnet(layout, facts, &running);
        let cluster = cluster.join().unwrap_or_else(|_| Err(tailnet::panicked()));
        cluster.and(tailnet)
    })
}

fn start_tailnet(layout: &Layout, facts: &Facts, running: &Processes) -> Result<()> {
    tailnet::ensure_control_server(layout, facts, running)?;
    tailnet::write_default_policy(layout, CAPABILITY)?;
    tailnet::ensure_nodes(layout, facts, running, &nodes())?;
    // Once the users are there that it names.
    step("the tailnet policy is in force", || {
        tailnet::apply_policy(layout, facts)
    })
}

/// The nodes of every testbed.
fn nodes() -> [(&'static str, Owner); 6] {
    [
        (tailnet::SERVER, Owner::tag("tag:tka")),
        ("alice", Owner::user("alice@example.com")),
        ("bob", Owner::user("bob@example.com")),
        ("alice2", Owner::user("alice@other.example")),
        ("carol", Owner::user("carol@example.com")),
        ("ci", Owner::tag("tag:ci")),
    ]
}

fn main_server(testbed: &Testbed) -> ServerOptions {
    ServerOptions {
        namespace: testbed.facts.namespace.clone(),
        capability: CAPABILITY.to_owned(),
        config: server::with_recordings(&testbed.layout.recordings()),
        ..ServerOptions::new(server::MAIN)
    }
}

/// Sees that every node of every testbed reaches the server, which also spares the first real request the search for a way.
/// A node that a test added may be off.
fn reach(testbed: &Testbed, url: &str) -> Result<()> {
    let own = nodes().map(|(name, _)| name);
    let nodes = testbed.nodes()?;
    thread::scope(|scope| {
        let others = nodes
            .iter()
            .filter(|node| own.contains(&node.hostname()) && node.hostname() != tailnet::SERVER);
        let threads: Vec<_> = others.map(|node| scope.spawn(|| reach_from(node, url))).collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().unwrap_or_else(|_| Err(tailnet::panicked())))
    })
}

fn reach_from(node: &Node, url: &str) -> Result<()> {
    let authority = url.trim_start_matches("http://");
    let look = || match http::get(node.proxy_address(), authority, &format!("{url}/")) {
        // The proxy's own answer when it does not get through.
        Ok(Answer { status: 502, body }) => Look::NotYet(body),
        Ok(_) => Look::Done(()),
        Err(error) => Look::NotYet(error.to_string()),
    };
    let what = || format!("node {} to reach {url}", node.hostname());
    wait::until(REACH_LIMIT, look).map_err(|why| Error::Timeout {
        what: what(),
        limit: REACH_LIMIT,
        why,
    })
}
