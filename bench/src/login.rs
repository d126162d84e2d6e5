//! `login`: a sign-in and a sign-out over the tailnet, against the least that the API server takes for the same.

use std::process::Stdio;
use std::time::{Duration, Instant};

use clap::Args;
use futures::future::join_all;
use http::{Method, StatusCode};
use serde::Serialize;
use serde_json::json;
use testbed::{Node, Server};
use tokio::process::Command;

use crate::audit::{Since, is_background, server_account};
use crate::caller::{Answer, Caller, Route};
use crate::floor::Floor;
use crate::ground::{Ground, beside, proxy};
use crate::people::HOST;
use crate::report::{Output, Report, millis, times};
use crate::stats::{Times, ratio};
use crate::table::Table;
use crate::{Outcome, bare};

/// Who signs in.
const CALLER: &str = "alice@example.com";
/// How many identical sign-ins come at once.
const TOGETHER: usize = 20;
/// How many rounds of what is measured there is one of: the command, and many sign-ins at once.
const EVERY: u32 = 10;
/// By how much the command may take longer than the floor.
const COMMAND_MS: f64 = 15.0;
/// Rounds that are not measured: connections are made, and the API server has seen each kind of object.
const WARM_UP: u32 = 5;

/// Arguments of `login`.
#[derive(Debug, Args)]
pub struct Login {
    /// How many rounds, each of one sign-in and one sign-out of either kind.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,

    #[command(flatten)]
    output: Output,
}

/// All figures.
#[derive(Debug, Default, Serialize)]
struct Figures {
    sign_in: Times,
    /// The API server's work, and a bare request over the same tailnet.
    sign_in_floor: Times,
    sign_out: Times,
    sign_out_floor: Times,
    /// The bare request alone.
    bare: Times,
    /// `tka login`, as a process.
    command: Option<Times>,
    together: Together,
}

/// Many identical sign-ins at once.
#[derive(Debug, Default, Serialize)]
struct Together {
    /// One alone, between the bursts.
    one: Times,
    /// Each of a burst.
    each: Times,
    /// The slowest of each burst.
    slowest: Times,
    /// Requests that the server made of the API server, for each burst and for each one alone.
    requests: f64,
    requests_of_one: f64,
}

/// What is measured.
struct Bench {
    ground: Ground,
    server: Server,
    floor: Floor,
    alice: Node,
    caller: Caller,
    bare: Caller,
    number: usize,
}

/// Values as they are measured.
#[derive(Default)]
struct Samples {
    sign_in: Vec<Duration>,
    sign_in_floor: Vec<Duration>,
    sign_out: Vec<Duration>,
    sign_out_floor: Vec<Duration>,
    bare: Vec<Duration>,
}

impl Login {
    /// Measures, and shows what was found.
    pub async fn run(&self) -> Outcome {
        let mut bench = Bench::start().await?;
        let mut samples = Samples::default();
        for _ in 0..WARM_UP {
            bench.round(&mut Samples::default()).await?;
        }
        let (mut command, mut together) = (Vec::new(), Bursts::default());
        for round in 0..self.rounds {
            bench.round(&mut samples).await?;
            if round % EVERY == 0 {
                command.extend(bench.command().await?);
                bench.burst(&mut together).await?;
            }
        }
        let figures = samples.figures(command, &together);
        Report::new("login", vec![table(&figures), bursts(&figures.together)], &figures)?.show(&self.output)
    }
}

// === impl Bench ===

impl Bench {
    async fn start() -> Outcome<Self> {
        let ground = Ground::up()?;
        let (without, api) = ground.without_server("login-floor").await?;
        let floor = Floor::new(api, without.namespace());
        let server = ground.server("login", &json!({}))?;
        let grants = json!([{ "src": [CALLER], "rules": [{ "role": "view", "period": "8h" }] }]);
        ground.testbed.set_grants(server.capability(), grants)?;
        let alice = ground.testbed.node("ALICE")?;
        let proxy = Route::Through(proxy(&alice)?);
        let beside = bare::start(ground.testbed.node("TKA")?.socket()).await?;
        let caller = Caller::new(proxy.clone(), &format!("{HOST}:{}", server.port()));
        let bare = Caller::new(proxy, &format!("{HOST}:{}", beside.port()));
        Ok(Self {
            ground,
            server,
            floor,
            alice,
            caller,
            bare,
            number: 0,
        })
    }

    /// One of each, in turn: whatever else the machine does meanwhile hits all alike.
    async fn round(&mut self, samples: &mut Samples) -> Outcome {
        samples.sign_in.push(sign_in(&mut self.caller).await?);
        samples.sign_out.push(sign_out(&mut self.caller).await?);
        self.number += 1;
        let bare = self.ask_bare().await?;
        samples
            .sign_in_floor
            .push(bare + self.floor.sign_in(self.number).await?);
        samples.bare.push(bare);
        let bare = self.ask_bare().await?;
        samples
            .sign_out_floor
            .push(bare + self.floor.sign_out(self.number).await?);
        samples.bare.push(bare);
        Ok(())
    }

    async fn ask_bare(&mut self) -> Outcome<Duration> {
        let answer = self.bare.send(Method::GET, "/", &[], "").await?;
        good(&answer, "a bare request")?;
        Ok(answer.time)
    }

    /// `tka login` as a person types it, from start to end.
    async fn command(&mut self) -> Outcome<Option<Duration>> {
        let tka = beside("tka")?;
        if !tka.exists() {
            return Ok(None);
        }
        let home = tempfile::tempdir()?;
        let typed = |word: &str| {
            let mut command = Command::new(&tka);
            command
                .env_clear()
                .env("HOME", home.path())
                .env("XDG_RUNTIME_DIR", home.path());
            command
                .env("TKA_TAILSCALE_HOSTNAME", self.server.url())
                .env("HTTP_PROXY", self.alice.proxy());
            command
                .args([word, "--quiet"])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::inherit());
            command
        };
        let start = Instant::now();
        let signed_in = typed("login").status().await?;
        let took = start.elapsed();
        let signed_out = typed("logout").status().await?;
        if signed_in.success() && signed_out.success() {
            return Ok(Some(took));
        }
        Err(format!("`tka login` and `tka logout` ended with {signed_in} and {signed_out}").into())
    }

    /// One alone, and many at once.
    async fn burst(&mut self, bursts: &mut Bursts) -> Outcome {
        let account = server_account(self.server.namespace());
        let log = self.ground.testbed.audit_log();
        let sum = |since: &Since| -> Outcome<u64> {
            let asked = since.of(&account)?;
            Ok(asked
                .iter()
                .filter(|(what, _)| !is_background(what))
                .map(|(_, count)| count)
                .sum())
        };
        let since = Since::now(&log)?;
        bursts.one.push(sign_in(&mut self.caller).await?);
        bursts.requests_of_one += sum(&since)?;
        sign_out(&mut self.caller).await?;
        let proxy = Route::Through(proxy(&self.alice)?);
        let authority = format!("{HOST}:{}", self.server.port());
        let mut callers: Vec<_> = (0..TOGETHER).map(|_| Caller::new(proxy.clone(), &authority)).collect();
        // Connections are there before, so that all come at one moment.
        for answer in join_all(
            callers
                .iter_mut()
                .map(|caller| caller.send(Method::GET, "/api/v1alpha1/rules", &[], "")),
        )
        .await
        {
            good(&answer?, "the rules")?;
        }
        let since = Since::now(&log)?;
        let all: Vec<_> = join_all(callers.iter_mut().map(sign_in))
            .await
            .into_iter()
            .collect::<Outcome<_>>()?;
        bursts.requests += sum(&since)?;
        bursts.slowest.extend(all.iter().max());
        bursts.each.extend(all);
        bursts.count += 1;
        sign_out(&mut self.caller).await?;
        Ok(())
    }
}

/// What bursts came to.
#[derive(Default)]
struct Bursts {
    one: Vec<Duration>,
    each: Vec<Duration>,
    slowest: Vec<Duration>,
    requests: u64,
    requests_of_one: u64,
    count: u64,
}

// === impl Samples ===

impl Samples {
    fn figures(self, command: Vec<Duration>, bursts: &Bursts) -> Figures {
        let times = |times: &[Duration]| times.iter().copied().collect::<Times>();
        let of_each = |requests: u64| ratio(crate::stats::float(requests), crate::stats::float(bursts.count));
        Figures {
            sign_in: self.sign_in.into_iter().collect(),
            sign_in_floor: self.sign_in_floor.into_iter().collect(),
            sign_out: self.sign_out.into_iter().collect(),
            sign_out_floor: self.sign_out_floor.into_iter().collect(),
            bare: self.bare.into_iter().collect(),
            command: (!command.is_empty()).then(|| command.into_iter().collect()),
            together: Together {
                one: times(&bursts.one),
                each: times(&bursts.each),
                slowest: times(&bursts.slowest),
                requests: of_each(bursts.requests),
                requests_of_one: of_each(bursts.requests_of_one),
            },
        }
    }
}

async fn sign_in(caller: &mut Caller) -> Outcome<Duration> {
    let answer = caller
        .send(Method::POST, "/api/v1alpha1/login", &[("prefer", "wait=10")], "")
        .await?;
    good(&answer, "a sign-in")?;
    Ok(answer.time)
}

async fn sign_out(caller: &mut Caller) -> Outcome<Duration> {
    let answer = caller.send(Method::POST, "/api/v1alpha1/logout", &[], "").await?;
    good(&answer, "a sign-out")?;
    Ok(answer.time)
}

fn good(answer: &Answer, what: &str) -> Outcome {
    if answer.status == StatusCode::OK {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&answer.body);
    Err(format!("{what} was answered {}: {said}", answer.status).into())
}

fn table(figures: &Figures) -> Table {
    let mut table = Table::new(
        "one after another",
        &[
            "",
            "p50",
            "p90",
            "p99",
            "floor p50",
            "floor p99",
            "p50 to floor",
            "p99 to floor",
            "goal",
        ],
    );
    let rows = [
        ("sign-in", &figures.sign_in, &figures.sign_in_floor, "≤ 1.2 ×, ≤ 1.5 ×"),
        ("sign-out", &figures.sign_out, &figures.sign_out_floor, "≤ 1.5 ×"),
    ];
    for (name, ours, floor, goal) in rows {
        let (p50, p99) = (floor.p50(), floor.percentile(99));
        table.row([
            name.to_owned(),
            millis(ours.p50()),
            millis(ours.percentile(90)),
            millis(ours.percentile(99)),
            millis(p50),
            millis(p99),
            times(ratio(ours.p50(), p50)),
            times(ratio(ours.percentile(99), p99)),
            goal.to_owned(),
        ]);
    }
    if let Some(command) = &figures.command {
        let floor = figures.sign_in_floor.p50();
        let mut cells = vec!["tka login, a process".to_owned()];
        cells.extend([50, 90, 99].map(|of_hundred| millis(command.percentile(of_hundred))));
        cells.extend([
            millis(floor),
            String::new(),
            format!("+ {}", millis(command.p50() - floor)),
            String::new(),
        ]);
        cells.push(format!("≤ + {COMMAND_MS} ms"));
        table.row(cells);
    }
    let bare = &figures.bare;
    let mut cells = vec!["a bare request".to_owned()];
    cells.extend([50, 90, 99].map(|of_hundred| millis(bare.percentile(of_hundred))));
    cells.resize(9, String::new());
    table.row(cells);
    table
}

fn bursts(together: &Together) -> Table {
    let mut table = Table::new(
        &format!("{TOGETHER} identical sign-ins at once"),
        &["", "p50", "max", "to one alone", "requests to the API server", "goal"],
    );
    let one = together.one.p50();
    let row = |name: &str, times_of: &Times, requests: Option<f64>, goal: &str| {
        [
            name.to_owned(),
            millis(times_of.p50()),
            millis(times_of.max()),
            times(ratio(times_of.p50(), one)),
            requests.map_or_else(String::new, |requests| format!("{requests:.1}")),
            goal.to_owned(),
        ]
    };
    table.row(row("one alone", &together.one, Some(together.requests_of_one), ""));
    table.row(row(
        "each of them",
        &together.each,
        Some(together.requests),
        "requests as of one",
    ));
    table.row(row("the slowest of them", &together.slowest, None, "≤ 1.5 ×"));
    table
}
