//! `cost`: what TKA costs the cluster, in requests to the API server. Counts do not wobble, so that they can be held to limits on any machine.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use futures::future::try_join_all;
use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::api::Api;
use crate::audit::{Since, is_background, server_account};
use crate::caller::Caller;
use crate::ground::Ground;
use crate::report::{Output, Report, millis};
use crate::site::{Crowd, Shape, Site, rules};
use crate::stats::{Times, float};
use crate::table::Table;
use crate::{Outcome, floor};

/// How many sessions each operation is counted over.
const SESSIONS: u32 = 20;
/// How long what follows an operation may go on, before it is counted: the loop's own writes, and those of the cluster's controllers.
const SETTLED: Duration = Duration::from_secs(2);
/// How many authorisations are measured, and how many bindings are written at a time.
const AUTHORISATIONS: usize = 300;
const WRITES: usize = 16;

/// Arguments of `cost`.
#[derive(Debug, Args)]
pub struct Cost {
    /// How many bindings there are for what they add to each authorisation; none are written when 0.
    #[arg(long, default_value_t = 2000)]
    bindings: usize,

    /// For how many seconds nothing is done, for what a minute costs idle.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
    idle: u32,

    /// Fail where more is asked of the API server than this file allows.
    #[arg(long, value_name = "FILE")]
    limits: Option<PathBuf>,

    #[command(flatten)]
    output: Output,
}

/// All figures.
#[derive(Debug, Default, Serialize)]
struct Figures {
    /// Requests of the server, by what it did.
    operations: Vec<Operation>,
    bindings: Option<Bindings>,
}

/// What one operation costs.
#[derive(Debug, Serialize)]
struct Operation {
    name: &'static str,
    /// Requests that the server made, each time, by verb and resource.
    requests: BTreeMap<String, f64>,
    /// All of them.
    sum: f64,
    /// Those of all clients of the API server, the cluster's controllers among them.
    of_all_clients: f64,
}

/// What bindings add to each authorisation.
#[derive(Debug, Serialize)]
struct Bindings {
    count: usize,
    without: Times,
    with: Times,
}

/// The most that each operation may ask, by its name.
#[derive(Debug, Deserialize)]
struct Limits {
    requests: BTreeMap<String, f64>,
}

/// Counts what happens between two moments.
struct Count<'a> {
    ground: &'a Ground,
    site: &'a Site,
    /// For how many seconds nothing is done.
    idle: u32,
    operations: Vec<Operation>,
}

impl Cost {
    /// Measures, shows what was found, and holds it to the limits.
    pub async fn run(&self) -> Outcome {
        let ground = Ground::up()?;
        let crowd = Crowd {
            shape: Shape::Callers,
            sessions: SESSIONS,
            more: 0,
            peers: 0,
        };
        let site = Site::start(&ground, "cost", crowd, rules(None)).await?;
        let mut count = Count {
            ground: &ground,
            site: &site,
            idle: self.idle,
            operations: Vec::new(),
        };
        count.all().await?;
        let operations = count.operations;
        let bindings = if self.bindings > 0 {
            Some(bindings(&ground, self.bindings).await?)
        } else {
            None
        };
        let figures = Figures { operations, bindings };
        let mut tables = vec![table(&figures)];
        tables.extend(figures.bindings.as_ref().map(authorisations));
        Report::new("cost", tables, &figures)?.show(&self.output)?;
        let Some(file) = &self.limits else { return Ok(()) };
        let broken = broken(&serde_json::from_slice(&fs::read(file)?)?, &figures.operations);
        if broken.is_empty() {
            return Ok(());
        }
        Err(format!(
            "more is asked of the API server than {} allows: {}",
            file.display(),
            broken.join("; ")
        )
        .into())
    }
}

// === impl Count ===

impl Count<'_> {
    async fn all(&mut self) -> Outcome {
        tokio::time::sleep(SETTLED).await;
        self.minute_idle("a minute idle, without a session").await?;
        self.each("a sign-in", Method::POST, "/api/v1alpha1/login").await?;
        self.each("an extension", Method::POST, "/api/v1alpha1/login").await?;
        self.each("a credential", Method::POST, "/api/v1alpha1/credential")
            .await?;
        self.each("who is signed in", Method::GET, "/api/v1alpha1/login")
            .await?;
        self.each("the rules", Method::GET, "/api/v1alpha1/rules").await?;
        self.minute_idle("a minute idle, with 20 sessions").await?;
        self.each("a sign-out", Method::POST, "/api/v1alpha1/logout").await?;
        let life = |mut caller: Caller| async move {
            for (method, path) in [(Method::POST, "login"), (Method::POST, "logout")] {
                ask(&mut caller, method, &format!("/api/v1alpha1/{path}")).await?;
            }
            Ok(())
        };
        self.over("a session's life: sign-in and sign-out", SESSIONS, life)
            .await
    }

    /// One request of each caller.
    async fn each(&mut self, name: &'static str, method: Method, path: &str) -> Outcome {
        let one = |mut caller: Caller| {
            let method = method.clone();
            async move { ask(&mut caller, method, path).await }
        };
        self.over(name, SESSIONS, one).await
    }

    /// Something done by so many callers one after another, and what each of them costs.
    async fn over<F>(&mut self, name: &'static str, times: u32, job: impl Fn(Caller) -> F) -> Outcome
    where
        F: Future<Output = Outcome>,
    {
        let all = async {
            for caller in 0..times {
                job(self.site.caller(caller)).await?;
            }
            tokio::time::sleep(SETTLED).await;
            Ok(())
        };
        let operation = self.counted(name, f64::from(times), false, all).await?;
        self.operations.push(operation);
        Ok(())
    }

    /// Nothing done, and what that costs in a minute.
    async fn minute_idle(&mut self, name: &'static str) -> Outcome {
        let idle = async {
            tokio::time::sleep(Duration::from_secs(self.idle.into())).await;
            Ok(())
        };
        let operation = self.counted(name, f64::from(self.idle) / 60.0, true, idle).await?;
        self.operations.push(operation);
        Ok(())
    }

    /// What the API server is asked while `work` is done, which does so many times what is counted. What is asked anyway counts only where that `is_idle`.
    async fn counted(
        &self,
        name: &'static str,
        times: f64,
        is_idle: bool,
        work: impl Future<Output = Outcome>,
    ) -> Outcome<Operation> {
        eprintln!("bench: {name}");
        let account = server_account(self.site.server.namespace());
        let (since, all) = (
            Since::now(&self.ground.testbed.audit_log())?,
            self.site.admin.requests().await?,
        );
        work.await?;
        let of_all = self.site.admin.requests().await?.since(&all).count(|_| true);
        let each = |count: u64| float(count) / times;
        let own = since
            .of(&account)?
            .into_iter()
            .filter(|(what, _)| is_idle || !is_background(what));
        let requests: BTreeMap<_, _> = own.map(|(what, count)| (what, each(count))).collect();
        Ok(Operation {
            name,
            sum: requests.values().sum(),
            requests,
            of_all_clients: each(of_all),
        })
    }
}

async fn ask(caller: &mut Caller, method: Method, path: &str) -> Outcome {
    let answer = caller.send(method.clone(), path, &[("prefer", "wait=10")], "").await?;
    if answer.status.is_success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&answer.body);
    Err(format!("{method} {path} was answered {}: {said}", answer.status).into())
}

/// How long the API server takes to look through `count` bindings, none of which gives anything to the one that asks.
async fn bindings(ground: &Ground, count: usize) -> Outcome<Bindings> {
    eprintln!("bench: authorisations among {count} bindings");
    let (without, api) = ground.without_server("cost-bindings").await?;
    let (namespace, admin) = (without.namespace(), ground.admin().await?);
    let before = authorise(&api).await?;
    for numbers in (0..count).collect::<Vec<_>>().chunks(WRITES) {
        let write = |number: &usize| {
            let binding = json!({
                "metadata": { "name": format!("bench-{number}") },
                "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view" },
                "subjects": [{ "kind": "ServiceAccount", "name": format!("bench-{number}"), "namespace": namespace }],
            });
            let admin = &admin;
            async move { admin.must(Method::POST, floor::BINDINGS, Some(&binding)).await }
        };
        try_join_all(numbers.iter().map(write)).await?;
    }
    tokio::time::sleep(SETTLED).await;
    Ok(Bindings {
        count,
        without: before,
        with: authorise(&api).await?,
    })
}

/// Requests that are refused after every binding was looked at, and that cost nothing else.
async fn authorise(api: &Api) -> Outcome<Times> {
    let mut times = Vec::new();
    for _ in 0..AUTHORISATIONS {
        let start = Instant::now();
        let answer = api
            .send(Method::GET, "/api/v1/namespaces/default/configmaps/none", None)
            .await?;
        times.push(start.elapsed());
        if answer.status.as_u16() != 403 {
            return Err(format!("a request that was to be refused was answered {}", answer.status).into());
        }
    }
    Ok(times.into_iter().collect())
}

/// What asks more than it may. What is allowed and was not counted is broken too: a limit of nothing holds nothing.
fn broken(limits: &Limits, operations: &[Operation]) -> Vec<String> {
    let of = |(name, limit): (&String, &f64)| match operations.iter().find(|operation| operation.name == name) {
        Some(operation) if operation.sum <= *limit => None,
        Some(operation) => Some(format!(
            "{name} takes {:.2} requests, and {limit} are allowed",
            operation.sum
        )),
        None => Some(format!("{name} was not counted")),
    };
    limits.requests.iter().filter_map(of).collect()
}

fn table(figures: &Figures) -> Table {
    let mut table = Table::new(
        "requests to the API server",
        &["", "of the server", "of all its clients", "the server's, by kind"],
    );
    for operation in &figures.operations {
        let kinds = operation
            .requests
            .iter()
            .map(|(what, count)| format!("{count:.1} {what}"));
        table.row([
            operation.name.to_owned(),
            format!("{:.2}", operation.sum),
            format!("{:.2}", operation.of_all_clients),
            kinds.collect::<Vec<_>>().join(", "),
        ]);
    }
    table
}

fn authorisations(bindings: &Bindings) -> Table {
    let mut table = Table::new("what bindings add to each authorisation", &["", "p50", "p99"]);
    let row = |name: String, times: &Times| [name, millis(times.p50()), millis(times.percentile(99))];
    table.row(row("without".to_owned(), &bindings.without));
    table.row(row(format!("with {} bindings", bindings.count), &bindings.with));
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(name: &'static str, sum: f64) -> Operation {
        Operation {
            name,
            requests: BTreeMap::new(),
            sum,
            of_all_clients: sum,
        }
    }

    #[test]
    fn limits_hold_what_was_counted() {
        let limits: Limits =
            serde_json::from_value(json!({ "requests": { "a sign-in": 8.0, "a sign-out": 6.5 } })).unwrap();
        let of = |sign_in, sign_out| {
            broken(
                &limits,
                &[operation("a sign-in", sign_in), operation("a sign-out", sign_out)],
            )
            .len()
        };
        assert_eq!([of(8.0, 6.0), of(8.1, 6.5), of(9.0, 7.0)], [0, 1, 2]);
        assert_eq!(
            broken(&limits, &[operation("a sign-in", 1.0)]),
            ["a sign-out was not counted"]
        );
    }
}
