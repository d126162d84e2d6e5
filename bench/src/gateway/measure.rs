//! What is done each way, in turn: whatever else the machine does meanwhile hits all alike.

use std::time::{Duration, Instant};

use futures::future::{join_all, try_join_all};
use http::Method;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::json;

use super::Figures;
use super::ways::{Client, NAMESPACE, Way, Ways};
use crate::Outcome;
use crate::stats::{Times, float, rate};

/// How many clients ask at once, and how often each.
pub(super) const CLIENTS: usize = 8;
const EACH: usize = 50;
/// How many objects a list has, and how many bytes are in each.
pub(super) const OBJECTS: usize = 3000;
pub(super) const LIST: usize = 1000;
/// About as much as an object has beside its data, in bytes.
const REST: usize = 400;
/// Of that many requests the first are not measured: connections are made.
const WARM_UP: u32 = 20;
/// How many objects are written at a time.
const WRITES: usize = 16;
/// How long a watch may take to tell.
const LIMIT: Duration = Duration::from_secs(10);

fn configmaps() -> String {
    format!("/api/v1/namespaces/{NAMESPACE}/configmaps")
}

/// Small GETs by one client.
pub(super) async fn one_after_another(ways: &Ways, figures: &mut [Figures], rounds: u32) -> Outcome {
    let one = json!({ "metadata": { "name": "one" }, "data": { "a": "b" } });
    ways.admin.must(Method::POST, &configmaps(), Some(&one)).await?;
    let path = format!("{}/one", configmaps());
    let mut clients: Vec<_> = ways.all.iter().map(Way::caller).collect();
    let mut measured = vec![Vec::new(); clients.len()];
    for round in 0..rounds + WARM_UP {
        for ((client, way), times) in clients.iter_mut().zip(&ways.all).zip(&mut measured) {
            let (time, _) = client.get(if way.is_bare { "/" } else { &path }).await?;
            if round >= WARM_UP {
                times.push(time);
            }
        }
    }
    for (figures, times) in figures.iter_mut().zip(measured) {
        figures.get = times.into_iter().collect();
    }
    Ok(())
}

/// Small GETs by several clients, and a large list.
pub(super) async fn burst(ways: &Ways, figures: &mut [Figures]) -> Outcome {
    if figures.first().is_some_and(|figures| figures.list.is_empty()) {
        write_objects(ways).await?;
    }
    let path = format!("{}/one", configmaps());
    let list = format!("{}?labelSelector=bench%3Dlist", configmaps());
    // As long as the list is.
    let bare_list = format!("/?{}", OBJECTS * (LIST + REST));
    for (way, figures) in ways.all.iter().zip(figures) {
        let path = if way.is_bare { "/" } else { &*path };
        let mut clients: Vec<_> = (0..CLIENTS).map(|_| way.caller()).collect();
        // Connections are there before.
        try_join_all(clients.iter_mut().map(|client| client.get(path))).await?;
        let start = Instant::now();
        try_join_all(clients.iter_mut().map(|client| many(client, path))).await?;
        figures.rate.push(rate(CLIENTS * EACH, start.elapsed()));
        let list = if way.is_bare { &bare_list } else { &list };
        let (time, bytes) = clients[0].get(list).await?;
        figures
            .list
            .push(float(bytes as u64) / 1_000_000.0 / time.as_secs_f64());
    }
    Ok(())
}

async fn many(client: &mut Client, path: &str) -> Outcome {
    for _ in 0..EACH {
        client.get(path).await?;
    }
    Ok(())
}

async fn write_objects(ways: &Ways) -> Outcome {
    let text = incompressible(LIST);
    for numbers in (0..OBJECTS).collect::<Vec<_>>().chunks(WRITES) {
        let write = |number: &usize| {
            let object = json!({
                "metadata": { "name": format!("list-{number}"), "labels": { "bench": "list" } }, "data": { "text": text },
            });
            async move { ways.admin.must(Method::POST, &configmaps(), Some(&object)).await }
        };
        try_join_all(numbers.iter().map(write)).await?;
    }
    Ok(())
}

/// Text that does not become small: Go's proxies have answers compressed without being asked to.
fn incompressible(bytes: usize) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut state: u64 = 1;
    let letter = |_| {
        // Knuth's MMIX: what matters is that it is the same in each run.
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        LETTERS
            .get(usize::try_from(state >> 58).unwrap_or_default())
            .copied()
            .map_or('A', char::from)
    };
    (0..bytes).map(letter).collect()
}

/// From a change until each way's watch tells of it.
pub(super) async fn watches(ways: &Ways, figures: &mut [Figures], rounds: u32) -> Outcome {
    let path = format!("{}?watch=true&fieldSelector=metadata.name%3Done", configmaps());
    let mut clients: Vec<_> = ways.all.iter().filter(|way| !way.is_bare).map(Way::caller).collect();
    let mut bodies = try_join_all(clients.iter_mut().map(|client| client.watch(&path))).await?;
    // What was there before is told first.
    for told in join_all(bodies.iter_mut().map(line)).await {
        told?;
    }
    let mut measured = vec![Vec::new(); bodies.len()];
    let one = format!("{}/one", configmaps());
    for round in 0..rounds {
        let changed = json!({ "metadata": { "name": "one" }, "data": { "a": round.to_string() } });
        let start = Instant::now();
        let write = ways.admin.must(Method::PUT, &one, Some(&changed));
        let told = join_all(bodies.iter_mut().map(|body| async move {
            line(body).await?;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(start.elapsed())
        }));
        let (written, told) = tokio::join!(write, told);
        written?;
        for (times, time) in measured.iter_mut().zip(told) {
            times.push(time?);
        }
    }
    for (figures, times) in figures.iter_mut().zip(measured) {
        figures.watch = times.into_iter().collect::<Times>();
    }
    Ok(())
}

/// Reads on until the end of a line.
async fn line(body: &mut Incoming) -> Outcome {
    let read = async {
        while let Some(frame) = body.frame().await {
            if frame?.data_ref().is_some_and(|data| data.ends_with(b"\n")) {
                return Ok(());
            }
        }
        Err("a watch ended".into())
    };
    tokio::time::timeout(LIMIT, read).await?
}

/// So many watches of which nothing is read, each on a connection of its own.
pub(super) async fn idle_watches(way: &Way, count: usize) -> Outcome<Vec<(Client, Incoming)>> {
    let path = format!("{}?watch=true&fieldSelector=metadata.name%3Dnone", configmaps());
    let mut watches = Vec::new();
    for _ in 0..count {
        let mut client = way.caller();
        let body = client.watch(&path).await?;
        watches.push((client, body));
    }
    Ok(watches)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_a_list_is_not_monotonous() {
        let text = incompressible(LIST);
        let kinds: std::collections::BTreeSet<_> = text.chars().collect();
        assert_eq!((text.len(), kinds.len()), (LIST, 64));
    }
}
