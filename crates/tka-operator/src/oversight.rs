//! What callers with oversight see and do of others' sessions: pages of all, and the end of one.

use kube::api::ListParams;
use kube::core::Status;
use tka_core::SessionName;

use crate::error::status;
use crate::objects::SELECTOR;
use crate::stored::{SessionFilter, StoredSession};
use crate::termination::Precondition;
use crate::{EndReason, Error, Sessions};

/// How many `TkaSignin`s are read at a time. One that says all it may has some three kilobytes as an answer.
const PAGE: u32 = 250;

/// Some of all sessions, in the order of their names.
#[derive(Debug)]
pub struct SessionPage {
    /// The sessions.
    pub sessions: Vec<StoredSession>,
    /// Where the next page begins, if there is one.
    pub next: Option<String>,
}

// === impl Sessions ===

impl Sessions {
    /// A page of all sessions of this server that go on, read from the API server at this moment. The first one, or the one that `next` of another
    /// leads to. None where the API server does not know that place, or not any more.
    pub async fn page(&self, place: Option<&str>) -> Result<Option<SessionPage>, Error> {
        let mut ask = ListParams::default().labels(SELECTOR).limit(PAGE);
        ask.continue_token = place.map(ToOwned::to_owned);
        let list = match self.signins.list(&ask).await {
            Err(error) if place.is_some() && status(&error).is_some_and(is_no_place) => return Ok(None),
            list => list?,
        };
        Ok(Some(SessionPage {
            sessions: SessionFilter::Live.all_stored(&list.items),
            next: list.metadata.continue_.filter(|next| !next.is_empty()),
        }))
    }

    /// Ends the session of that name, whose owner does not ask for it, because of `why`. When this returns, its account and bindings are gone. Says whether
    /// there was one. How an end goes that has begun already is not changed.
    pub async fn end_session_of_other(&self, name: &SessionName, why: String) -> Result<bool, Error> {
        let _lock = self.locks.take(name.as_str()).await?;
        let Some(signin) = self.signins.get_opt(name.as_str()).await? else {
            return Ok(false);
        };
        // What was there a moment ago may be gone, and a sign-in that waits for approval may have its name.
        if SessionFilter::WithTerminating.stored(&signin).is_none() {
            return Ok(false);
        }
        let how = EndReason::Revoked(why);
        self.terminate(&signin, how, Precondition::SameObject, &*self.records)
            .await
    }
}

/// Whether the API server does not take where a page is to begin: it made no such place, or has forgotten it
/// (<https://kubernetes.io/docs/reference/using-api/api-concepts/#retrieving-large-results-sets-in-chunks>).
fn is_no_place(status: &Status) -> bool {
    matches!(status.code, 400 | 410)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake_api_server::{self, ApiRequest, StoredSignin};
    use crate::{examples, objects};
    use kube::ResourceExt;
    use serde_json::json;
    use std::sync::{Arc, Mutex};

    #[tokio::test]
    async fn pages_lead_on_until_there_are_no_more() {
        let start = examples::at(100);
        let signins: Vec<_> = ["a", "b", "c"]
            .map(|label| objects::signin(&examples::labelled("1h", start, label), None, "tka"))
            .into();
        let mut ending = signins[1].clone();
        ending.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(start));
        let (first, last) = ([signins[0].clone(), ending], [signins[2].clone()]);
        let asked = Arc::new(Mutex::new(Vec::new()));
        let queries = Arc::clone(&asked);
        let clients = fake_api_server::clients(move |request: &ApiRequest| {
            queries.lock().unwrap().push(request.query.clone());
            let is_next = |place| request.query.contains(&format!("continue={place}"));
            Some(match (is_next("two"), is_next("gone"), is_next("made-up")) {
                (true, _, _) => fake_api_server::list(&last),
                (_, true, _) => fake_api_server::failure(410, 0),
                (_, _, true) => fake_api_server::failure(400, 0),
                _ => {
                    let (code, mut page) = fake_api_server::list(&first);
                    page["metadata"]["continue"] = json!("two");
                    (code, page)
                }
            })
        });
        let sessions = examples::sessions(clients, start);
        let names = |page: &SessionPage| {
            let names = page.sessions.iter().map(|stored| stored.session.name().to_string());
            names.collect::<Vec<_>>()
        };
        let page = sessions.page(None).await.unwrap().unwrap();
        assert_eq!(
            (names(&page), page.next.as_deref()),
            (vec![signins[0].name_any()], Some("two"))
        );
        let page = sessions.page(page.next.as_deref()).await.unwrap().unwrap();
        assert_eq!((names(&page), page.next), (vec![signins[2].name_any()], None));
        for nowhere in ["gone", "made-up"] {
            assert!(sessions.page(Some(nowhere)).await.unwrap().is_none(), "{nowhere}");
        }
        let asked = asked.lock().unwrap();
        assert!(asked.iter().all(|query| query.contains("limit=250")), "{asked:?}");
    }

    #[tokio::test]
    async fn failure_of_the_first_page_is_no_end_of_the_list() {
        let clients = fake_api_server::clients(|_| Some(fake_api_server::failure(400, 0)));
        let sessions = examples::sessions(clients, examples::at(100));
        assert!(matches!(sessions.page(None).await, Err(Error::Api(_))));
    }

    #[tokio::test]
    async fn end_says_why_and_leaves_what_is_no_session() {
        let start = examples::at(100);
        let session = examples::session("1h", start);
        let kept = StoredSignin::new(&objects::signin(&session, None, "tka"));
        let (server, written) = (kept.clone(), Arc::new(Mutex::new(String::new())));
        let patches = Arc::clone(&written);
        let clients = fake_api_server::clients(move |request| {
            if request.method == "PATCH" {
                patches.lock().unwrap().push_str(&request.body.to_string());
            }
            Some(server.answer(request))
        });
        let sessions = examples::sessions(clients, start);
        let (name, why) = (session.name(), "ended by alice@example.com");
        let end = || sessions.end_session_of_other(&name, why.to_owned());
        assert!(end().await.unwrap());
        assert!(kept.now().is_none());
        let written = written.lock().unwrap().clone();
        assert!(written.contains("revoked") && written.contains(why), "{written}");
        assert!(!end().await.unwrap(), "there is none any more");
        let waiting = StoredSignin::new(&objects::signin(&session, None, "tka"));
        waiting.annotate(tka_api::resource::ANNOTATION_LAST_SIGN_IN, "no time");
        let server = waiting.clone();
        let clients = fake_api_server::clients(move |request| Some(server.answer(request)));
        let sessions = examples::sessions(clients, start);
        assert!(
            !sessions
                .end_session_of_other(&session.name(), "x".to_owned())
                .await
                .unwrap()
        );
        assert!(
            waiting
                .now()
                .is_some_and(|signin| signin.metadata.deletion_timestamp.is_none())
        );
    }
}
