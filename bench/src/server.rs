//! `server`: how many requests a server answers, against a bare handler that asks the same WhoIs, and against what the API server does alone.

use std::time::{Duration, Instant};

use clap::Args;
use futures::future::join_all;
use http::Method;
use serde::Serialize;

use crate::caller::{Caller, Route};
use crate::floor::Floor;
use crate::ground::Ground;
use crate::load::{self, Done, Load};
use crate::people::{HOST, People};
use crate::process::Usage;
use crate::report::{Output, Report, megabytes, millis, times};
use crate::site::{Crowd, Shape, Site, rules};
use crate::stats::{Times, median, ratio};
use crate::table::Table;
use crate::{Outcome, bare};

/// How many callers ask at once, each on a connection that it keeps.
const CONNECTIONS: u32 = 64;
/// How many sign-ins are under way at a time, and how many come in each burst.
const SIGN_INS: u32 = 8;
const BURST: u32 = 50;
/// What is asked. The first is the bare handler.
const PATHS: [(&str, Method, &str); 5] = [
    ("a bare handler", Method::GET, "/"),
    ("GET /rules", Method::GET, "/api/v1alpha1/rules"),
    ("GET /cluster-info", Method::GET, "/api/v1alpha1/cluster-info"),
    ("GET /login", Method::GET, "/api/v1alpha1/login"),
    ("POST /credential", Method::POST, "/api/v1alpha1/credential"),
];

/// What only a caller with a session is answered.
const NEED_SESSION: [&str; 2] = ["GET /login", "POST /credential"];
/// What is asked for long, at half of the rate that it reached.
const STEADY: &str = "GET /rules";

/// Arguments of `server`.
#[derive(Debug, Args)]
pub struct Server {
    /// How many callers there are. What needs no session is asked by others in each burst.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(64..))]
    callers: u32,

    /// How many bursts of each kind, in turn.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    bursts: u32,

    /// How many seconds each burst lasts.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,

    /// For how many seconds the rules are asked for at half of the rate that they reached.
    #[arg(long, default_value_t = 60)]
    steady: u64,

    #[command(flatten)]
    output: Output,
}

/// All figures.
#[derive(Debug, Serialize)]
struct Figures {
    endpoints: Vec<Endpoint>,
    sign_ins: SignIns,
    steady: Steady,
}

/// One kind of request.
#[derive(Debug, Default, Serialize)]
struct Endpoint {
    name: &'static str,
    /// Requests a second, of each burst.
    rates: Vec<f64>,
    times: Times,
    /// How often tailscaled was asked, each request.
    whois: f64,
    failed: usize,
    #[serde(skip)]
    samples: Vec<Duration>,
}

/// Sign-ins by many callers, and the API server's work for the same alone.
#[derive(Debug, Default, Serialize)]
struct SignIns {
    rates: Vec<f64>,
    alone: Vec<f64>,
    failed: usize,
}

/// A load that goes on.
#[derive(Debug, Serialize)]
struct Steady {
    /// Requests a second that were asked for, and answered.
    asked: f64,
    answered: f64,
    times: Times,
    before: Usage,
    after: Usage,
    failed: usize,
}

impl Server {
    /// Measures, and shows what was found.
    pub async fn run(&self) -> Outcome {
        let ground = Ground::up()?;
        let (without, api) = ground.without_server("server-floor").await?;
        let floor = Floor::new(api, without.namespace());
        let burst = self.bursts * BURST;
        let crowd = Crowd {
            shape: Shape::Callers,
            sessions: CONNECTIONS,
            more: self.callers.max(CONNECTIONS + burst) - CONNECTIONS,
            peers: 0,
        };
        let site = Site::start(&ground, "server", crowd, rules(None)).await?;
        let bare = bare::start(&site.stand_in.socket()).await?;
        let bare = |device| Caller::new(Route::From(People::loopback(device), bare), HOST);
        let signed_in = site.sign_in_all(SIGN_INS).await;
        if signed_in.failed > 0 {
            return Err(format!("callers could not sign in: {:?}", signed_in.answers).into());
        }
        let mut endpoints: Vec<_> = PATHS
            .iter()
            .map(|(name, ..)| Endpoint {
                name,
                ..Endpoint::default()
            })
            .collect();
        for burst in 0..self.bursts {
            eprintln!("bench: burst {} of {}", burst + 1, self.bursts);
            for (endpoint, (name, method, path)) in endpoints.iter_mut().zip(&PATHS) {
                let first = if NEED_SESSION.contains(name) {
                    0
                } else {
                    burst * CONNECTIONS
                };
                let is_bare = *path == "/";
                let devices = (first..first + CONNECTIONS).map(|device| device % self.callers);
                let callers = devices.map(|device| if is_bare { bare(device) } else { site.caller(device) });
                self.burst(&site, callers, endpoint, method, path).await?;
            }
        }
        for endpoint in &mut endpoints {
            endpoint.times = std::mem::take(&mut endpoint.samples).into_iter().collect();
        }
        let sign_ins = self.sign_ins(&site, &floor).await?;
        let rate = endpoints
            .iter()
            .find(|endpoint| endpoint.name == STEADY)
            .map_or(0.0, |rules| median(&rules.rates))
            / 2.0;
        let steady = self.steady(&site, rate).await?;
        let figures = Figures {
            endpoints,
            sign_ins,
            steady,
        };
        Report::new("server", vec![table(&figures), steady_table(&figures.steady)], &figures)?.show(&self.output)
    }

    /// As many requests as there can be, on connections that are kept.
    async fn burst(
        &self,
        site: &Site,
        callers: impl Iterator<Item = Caller>,
        endpoint: &mut Endpoint,
        method: &Method,
        path: &str,
    ) -> Outcome {
        let mut callers: Vec<_> = callers.collect();
        // Connections are there before.
        for answer in join_all(
            callers
                .iter_mut()
                .map(|caller| caller.send(method.clone(), path, &[], "")),
        )
        .await
        {
            answer?;
        }
        let (asked, start) = (site.stand_in.asked(), Instant::now());
        let end = start + Duration::from_secs(self.seconds);
        let worker = |mut caller: Caller| async move {
            let mut done = Vec::new();
            while Instant::now() < end {
                done.push(one(&mut caller, method, path).await);
            }
            done
        };
        let done = join_all(callers.into_iter().map(worker)).await.concat();
        let took = start.elapsed();
        let load = Load::of(&done, took);
        endpoint.whois = ratio(
            crate::stats::float(site.stand_in.asked() - asked),
            crate::stats::float(done.len() as u64),
        );
        endpoint.rates.push(load.per_second);
        endpoint.failed += load.failed;
        endpoint.samples.extend(done.into_iter().map(|done| done.time));
        Ok(())
    }

    /// Sign-ins, and the API server's work alone, in turn.
    async fn sign_ins(&self, site: &Site, floor: &Floor) -> Outcome<SignIns> {
        let mut figures = SignIns::default();
        for burst in 0..self.bursts {
            let devices = CONNECTIONS + burst * BURST..CONNECTIONS + (burst + 1) * BURST;
            let sign_in =
                |device| async move { one(&mut site.caller(device), &Method::POST, "/api/v1alpha1/login").await };
            let load = load::run(devices, SIGN_INS as usize, sign_in).await;
            figures.rates.push(load.per_second);
            figures.failed += load.failed;
            let numbers = (burst * BURST) as usize..((burst + 1) * BURST) as usize;
            let alone = |number| async move { Done::of(floor.sign_in(number).await) };
            figures
                .alone
                .push(load::run(numbers, SIGN_INS as usize, alone).await.per_second);
        }
        Ok(figures)
    }

    /// So many requests a second, whether or not those before have been answered.
    async fn steady(&self, site: &Site, rate: f64) -> Outcome<Steady> {
        let (method, path) = (Method::GET, "/api/v1alpha1/rules");
        let interval = Duration::from_secs_f64(f64::from(CONNECTIONS) / rate.max(1.0));
        let before = site.usage()?;
        let start = Instant::now();
        let end = start + Duration::from_secs(self.steady);
        eprintln!("bench: {rate:.0} requests a second for {} s", self.steady);
        let worker = |number: u32| {
            let method = &method;
            async move {
                let mut caller = site.caller(number);
                let mut due = start + interval.mul_f64(f64::from(number) / f64::from(CONNECTIONS));
                let mut done = Vec::new();
                while due < end {
                    tokio::time::sleep_until(due.into()).await;
                    let mut answered = one(&mut caller, method, path).await;
                    // Waiting for the one before counts: a slow server must not be asked less.
                    answered.time = due.elapsed();
                    done.push(answered);
                    due += interval;
                }
                done
            }
        };
        let done = join_all((0..CONNECTIONS).map(worker)).await.concat();
        let load = Load::of(&done, start.elapsed());
        Ok(Steady {
            asked: rate,
            answered: load.per_second,
            times: load.times,
            failed: load.failed,
            before,
            after: site.usage()?,
        })
    }
}

async fn one(caller: &mut Caller, method: &Method, path: &str) -> Done {
    let start = Instant::now();
    let answer = caller.send(method.clone(), path, &[("prefer", "wait=10")], "").await;
    Done {
        time: start.elapsed(),
        answer: answer
            .map(|answer| answer.status.as_u16())
            .map_err(|error| error.to_string()),
    }
}

fn table(figures: &Figures) -> Table {
    let mut table = Table::new(
        &format!("requests a second by {CONNECTIONS} callers, and sign-ins by {SIGN_INS}"),
        &[
            "",
            "a second",
            "beside",
            "",
            "p50",
            "p99",
            "WhoIs a request",
            "failed",
            "goal",
        ],
    );
    let bare = figures.endpoints.first().map_or(0.0, |bare| median(&bare.rates));
    for endpoint in &figures.endpoints {
        let rate = median(&endpoint.rates);
        let goal = if endpoint.name.ends_with("rules") || endpoint.name.ends_with("info") {
            "≥ 0.50 ×"
        } else {
            ""
        };
        table.row([
            endpoint.name.to_owned(),
            format!("{rate:.0}"),
            format!("{bare:.0}"),
            times(ratio(rate, bare)),
            millis(endpoint.times.p50()),
            millis(endpoint.times.percentile(99)),
            format!("{:.2}", endpoint.whois),
            endpoint.failed.to_string(),
            goal.to_owned(),
        ]);
    }
    let (rate, alone) = (median(&figures.sign_ins.rates), median(&figures.sign_ins.alone));
    let mut cells = vec!["POST /login, beside the API server alone".to_owned()];
    cells.extend([format!("{rate:.1}"), format!("{alone:.1}"), times(ratio(rate, alone))]);
    cells.extend(["", "", ""].map(str::to_owned));
    cells.extend([figures.sign_ins.failed.to_string(), "≥ 0.80 ×".to_owned()]);
    table.row(cells);
    table
}

fn steady_table(steady: &Steady) -> Table {
    let mut table = Table::new(
        "GET /rules at half of the rate that it reached",
        &[
            "asked a second",
            "answered",
            "p50",
            "p99",
            "p99 to p50",
            "failed",
            "memory before",
            "after",
        ],
    );
    let (p50, p99) = (steady.times.p50(), steady.times.percentile(99));
    table.row([
        format!("{:.0}", steady.asked),
        format!("{:.0}", steady.answered),
        millis(p50),
        millis(p99),
        times(ratio(p99, p50)),
        steady.failed.to_string(),
        megabytes(steady.before.resident),
        megabytes(steady.after.resident),
    ]);
    table
}
