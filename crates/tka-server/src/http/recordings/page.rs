//! A page of recordings. What one costs is bounded: in recordings that are looked at, and in time.

use std::pin::pin;
use std::time::Duration;

use futures::{StreamExt, stream};
use tka_api::http::{RecordingInfo, RecordingList};
use tka_recording::SinkError;
use tokio::time::Instant;

use super::query::Filter;
use super::view;
use crate::gateway::RecordingArchive;

/// How many recordings are looked at for a page.
const LOOKED_AT: usize = 1000;
/// For how long.
const TIME: Duration = Duration::from_secs(3);
/// How many at the same time.
const AT_ONCE: usize = 8;

/// The page that `filter` asks for.
pub(super) async fn page(archive: &RecordingArchive, filter: &Filter) -> Result<RecordingList, SinkError> {
    let end = Instant::now() + TIME;
    let mut names = archive.names().await?;
    names.retain(|name| filter.has_name(name));
    let Some(oldest) = names.last().cloned() else {
        return Ok(RecordingList::default());
    };
    names.truncate(LOOKED_AT);
    let details = stream::iter(names).map(|name| async {
        let details = archive.details(&name).await;
        (name, details)
    });
    let mut details = pin!(details.buffered(AT_ONCE));
    let (mut page, mut last) = (RecordingList::default(), None);
    while let Some((name, details)) = details.next().await {
        // One that is gone meanwhile is no more.
        if let Some(details) = details? {
            add(&mut page, filter, view::info(&name, &details));
        }
        last = Some(name);
        // Whatever the time, one was looked at, so that each page leads on.
        if page.items.len() >= filter.limit || Instant::now() >= end {
            break;
        }
    }
    page.next = last.filter(|last| *last != oldest).map(|last| last.to_string());
    Ok(page)
}

fn add(page: &mut RecordingList, filter: &Filter, info: RecordingInfo) {
    match &info.about {
        _ if !filter.looks_inside() => page.items.push(info),
        Some(about) if filter.means(about) => page.items.push(info),
        None if info.sealed => page.sealed_left_out += 1,
        Some(_) | None => {}
    }
}
