use super::*;
use crate::end_reason::EndRecord;
use crate::fake_api_server::{self, Answer, ApiRequest, StoredSignin};
use crate::session_cache::SessionCache;
use crate::{NotRecorded, examples};
use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use kube::runtime::reflector::{self, store::Writer};
use kube::runtime::watcher::Event;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use tka_api::resource::ANNOTATION_END;
use tokio::sync::watch;

/// An API server with sessions, which tells of them as a watch does. What it is asked is noted.
#[derive(Clone)]
struct Server(Arc<Inner>);

struct Inner {
    kept: BTreeMap<String, StoredSignin>,
    asked: Mutex<Vec<String>>,
    writer: Mutex<Writer<TkaSignin>>,
    changes: watch::Sender<()>,
    /// Whether the watch tells.
    tells: bool,
    /// What to answer the first request that says this.
    fault: Mutex<Option<(&'static str, Answer)>>,
}

impl Server {
    /// Serves what is in the store, as far as it `tells` of changes.
    fn new(there: &[TkaSignin], tells: bool) -> (Self, Sessions) {
        let (store, writer) = reflector::store();
        let (changes, told) = watch::channel(());
        let kept = there.iter().map(|signin| (signin.name_any(), kept(signin)));
        let server = Self(Arc::new(Inner {
            kept: kept.collect(),
            asked: Mutex::default(),
            writer: Mutex::new(writer),
            changes,
            tells: true,
            fault: Mutex::default(),
        }));
        for kept in server.0.kept.values() {
            server.tell(&Event::Apply(kept.now().unwrap()));
        }
        let mut inner = Arc::into_inner(server.0).unwrap();
        inner.tells = tells;
        let server = Self(Arc::new(inner));
        let answers = server.clone();
        let clients = fake_api_server::clients(move |request| Some(answers.answer(request)));
        let sessions = examples::sessions(clients, examples::at(200));
        let _ = sessions.cache.set(SessionCache::new(store, told));
        for kept in server.0.kept.values() {
            let signin = kept.now().unwrap();
            let account = objects::service_account(&signin).unwrap();
            sessions.child_uids.note(&account, Some("account".into()));
            if let objects::Bindings::Cluster(binding) = objects::bindings(&signin).unwrap() {
                sessions.child_uids.note(&*binding, Some("binding".into()));
            }
        }
        (server, sessions)
    }

    fn tell(&self, event: &Event<TkaSignin>) {
        if self.0.tells {
            self.0.writer.lock().unwrap().apply_watcher_event(event);
            self.0.changes.send_replace(());
        }
    }

    fn fail_once(&self, asked: &'static str, answer: Answer) {
        *self.0.fault.lock().unwrap() = Some((asked, answer));
    }

    fn answer(&self, request: &ApiRequest) -> Answer {
        if request.path.ends_with("/events") {
            return (201, request.body.clone());
        }
        let asked = said(request);
        self.0.asked.lock().unwrap().push(asked.clone());
        let mut fault = self.0.fault.lock().unwrap();
        if let Some((_, answer)) = fault.take_if(|(of, _)| asked.starts_with(*of)) {
            return answer;
        }
        drop(fault);
        if request.method == "DELETE" && !request.path.contains("/tkasignins/") {
            assert!(request.body["preconditions"]["uid"].is_string(), "it names no object");
            return (200, json!({"kind": "Status", "status": "Success"}));
        }
        if request.path.ends_with("/tkasignins") {
            let all: Vec<_> = self.0.kept.values().filter_map(StoredSignin::now).collect();
            return fake_api_server::list(&all);
        }
        let name = request.path.rsplit('/').next().unwrap();
        let Some(kept) = self.0.kept.get(name) else {
            return fake_api_server::failure(404, 0);
        };
        let before = kept.now();
        let answer = kept.answer(request);
        match (before, kept.now()) {
            (_, Some(signin)) if request.method != "GET" => self.tell(&Event::Apply(signin)),
            (Some(signin), None) => self.tell(&Event::Delete(signin)),
            _ => {}
        }
        answer
    }

    fn asked(&self) -> Vec<String> {
        self.0.asked.lock().unwrap().clone()
    }

    /// How many are left.
    fn left(&self) -> usize {
        self.0.kept.values().filter_map(StoredSignin::now).count()
    }
}

fn kept(signin: &TkaSignin) -> StoredSignin {
    let kept = StoredSignin::new(signin);
    let uid = json!(format!("uid of {}", signin.name_any()));
    kept.0.lock().unwrap().as_mut().unwrap()["metadata"]["uid"] = uid;
    kept
}

/// A request in a few words. Of a patch it says what is patched.
fn said(request: &ApiRequest) -> String {
    let kinds = ["tkasignins", "serviceaccounts", "clusterrolebindings"];
    let kind = kinds
        .into_iter()
        .find(|kind| request.path.contains(kind))
        .unwrap_or("other");
    let metadata = request.body["metadata"].as_object();
    let field = ["annotations", "finalizers"]
        .into_iter()
        .find(|field| metadata.is_some_and(|metadata| metadata.contains_key(*field)));
    let verb = &request.method;
    if verb == "GET" && request.path.ends_with("/tkasignins") {
        let since = request.query.contains("resourceVersionMatch=NotOlderThan");
        return format!("LIST tkasignins{}", if since { " since a write" } else { "" });
    }
    field.map_or_else(|| format!("{verb} {kind}"), |field| format!("{verb} {kind} {field}"))
}

/// Notes what ended, and how many requests there were before.
#[derive(Clone, Default)]
struct EndRecorder(Arc<Mutex<Vec<(SessionName, EndReason, usize)>>>, Option<Server>);

impl Records for EndRecorder {
    fn began<'a>(&'a self, _: &'a Session, _: bool) -> BoxFuture<'a, Result<(), NotRecorded>> {
        ready(Ok(())).boxed()
    }

    fn ended<'a>(&'a self, session: &'a Session, how: &'a EndReason) -> BoxFuture<'a, ()> {
        let asked = self.1.as_ref().map_or(0, |server| server.asked().len());
        self.0.lock().unwrap().push((session.name(), how.clone(), asked));
        ready(()).boxed()
    }
}

/// Sessions of one device: one that is not kept apart, and others that are.
fn sessions_of_device(labelled: usize) -> Vec<Session> {
    let labels = (0..labelled).map(|number| examples::labelled("1h", examples::at(100), &format!("l{number}")));
    std::iter::once(examples::session("1h", examples::at(100)))
        .chain(labels)
        .collect()
}

fn signins(sessions: &[Session]) -> Vec<TkaSignin> {
    sessions
        .iter()
        .map(|session| objects::signin(session, None, "tka"))
        .collect()
}

/// What ending one session asks for, once it is read.
const OF_ONE: [&str; 5] = [
    "PATCH tkasignins annotations",
    "DELETE tkasignins",
    "DELETE clusterrolebindings",
    "DELETE serviceaccounts",
    "PATCH tkasignins finalizers",
];

#[tokio::test(start_paused = true)]
async fn sign_out_reads_ends_and_looks_for_more() {
    let of_device = sessions_of_device(1);
    let (server, sessions) = Server::new(&signins(&of_device), true);
    let records = EndRecorder(Arc::default(), Some(server.clone()));
    let (session, caller) = (&of_device[0], &of_device[0].caller);
    let last = sessions.sign_out(caller, vec![session.name()], &records).await.unwrap();
    assert_eq!(last.unwrap(), *session);
    let mut asked = server.asked();
    asked[3..5].sort();
    assert_eq!(asked[0], "GET tkasignins", "by name");
    assert_eq!(asked[1..6], OF_ONE);
    assert_eq!(asked[6..], ["LIST tkasignins since a write"]);
    let recorded = records.0.lock().unwrap().clone();
    assert_eq!(
        recorded,
        [(session.name(), EndReason::SignedOut, 5)],
        "before it may go"
    );
    assert_eq!(server.left(), 1, "what is kept apart goes on");
}

/// The watch may be behind, and is not asked.
#[tokio::test(start_paused = true)]
async fn session_whose_rule_is_gone_ends_too() {
    let mut of_device = sessions_of_device(0);
    let mut other = of_device[0].clone();
    other.rule = tka_core::Rule::parse(r#"{"role": "edit", "period": "1h"}"#)
        .unwrap()
        .key();
    of_device.push(other);
    let (server, sessions) = Server::new(&signins(&of_device), false);
    let caller = &of_device[0].caller;
    let (by_rule, records) = (vec![of_device[0].name()], EndRecorder::default());
    let last = sessions.sign_out(caller, by_rule, &records).await.unwrap();
    assert!(last.is_some());
    assert_eq!(server.left(), 0);
}

/// A rule may not have arrived at this replica yet, and nothing is written that a list could be newer than.
#[tokio::test(start_paused = true)]
async fn session_that_no_name_finds_is_listed_as_of_now() {
    let of_device = sessions_of_device(0);
    for names in [vec![], vec![examples::labelled("1h", examples::at(100), "l").name()]] {
        let (server, sessions) = Server::new(&signins(&of_device), false);
        let (caller, records) = (&of_device[0].caller, EndRecorder::default());
        let signed_out = sessions.sign_out(caller, names, &records).await;
        assert_eq!(signed_out.unwrap().as_ref(), Some(&of_device[0]));
        assert!(
            server.asked().contains(&"LIST tkasignins".to_owned()),
            "{:?}",
            server.asked()
        );
        assert_eq!(server.left(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn session_extended_since_the_watch_told_of_it_ends_as_it_is() {
    let of_device = sessions_of_device(0);
    let (server, sessions) = Server::new(&signins(&of_device), false);
    let kept = &server.0.kept[of_device[0].name().as_str()];
    let (later, name) = (examples::at(150), of_device[0].name());
    kept.annotate(tka_api::resource::ANNOTATION_LAST_SIGN_IN, &later.to_string());
    server.fail_once("DELETE tkasignins", fake_api_server::failure(503, 0));
    let signed_out = sessions.end(&name, &EndRecorder::default()).await;
    assert!(signed_out.is_err());
    let signin = kept.now().unwrap();
    let extended = objects::session(&signin).unwrap();
    assert_eq!(extended.signed_in, later);
    assert!(
        objects::has_end_reason(&signin, &extended),
        "{:?}",
        signin.annotations().get(ANNOTATION_END)
    );
    assert_eq!(EndRecord::of(&signin, &extended).unwrap().end, EndReason::SignedOut);
}

/// Whether everything that says `first` comes before all that says `then`.
fn is_before(asked: &[String], first: &str, then: &str) -> bool {
    let last_of_first = asked.iter().rposition(|asked| asked == first);
    let first_of_then = asked.iter().position(|asked| asked == then);
    last_of_first.is_some() && last_of_first < first_of_then
}

#[tokio::test(start_paused = true)]
async fn access_of_all_goes_before_anything_else() {
    let of_device = sessions_of_device(49);
    let (server, sessions) = Server::new(&signins(&of_device), true);
    let mut all = sessions.list_for_sign_out(&of_device[0].caller).await.unwrap();
    assert_eq!(server.asked(), ["LIST tkasignins"]);
    // One is put off, and tried again.
    server.fail_once("DELETE serviceaccounts", fake_api_server::failure(429, 2));
    let (until, records) = (Instant::now() + Duration::from_secs(10), EndRecorder::default());
    let (withdrawals, withdrawn) = sessions.remove_access_of_all(&mut all, until).await;
    withdrawn.unwrap();
    assert!(
        sessions.ends_in_progress.holds(&withdrawals.0[0].0.uid().unwrap()),
        "the loop leaves it"
    );
    assert_eq!(server.left(), 50);
    sessions.release_all(withdrawals, &records).await;
    assert_eq!(server.left(), 0);
    let asked = server.asked();
    for access in ["DELETE serviceaccounts", "DELETE clusterrolebindings"] {
        assert!(is_before(&asked, access, "PATCH tkasignins finalizers"), "{access}");
    }
    let recorded = records.0.lock().unwrap();
    assert_eq!(recorded.len(), 50);
    // Each is looked at once more before it goes; the one that was put off is read, and its deletions are asked for again.
    assert!(asked.len() <= 1 + 50 * (OF_ONE.len() + 1) + 4, "{}", asked.len());
}

#[tokio::test(start_paused = true)]
async fn what_fails_for_too_long_is_told_and_keeps_no_other() {
    let of_device = sessions_of_device(9);
    let (server, sessions) = Server::new(&signins(&of_device), true);
    let mut all = sessions.list_for_sign_out(&of_device[0].caller).await.unwrap();
    server.fail_once("DELETE clusterrolebindings", fake_api_server::failure(429, 20));
    let until = Instant::now() + Duration::from_secs(10);
    let (withdrawals, withdrawn) = sessions.remove_access_of_all(&mut all, until).await;
    assert_eq!(withdrawn.unwrap_err().retry_after(), Some(Duration::from_secs(20)));
    assert_eq!((withdrawals.0.len(), all.sessions.len()), (9, 1));
    // What is left is tried later.
    let (later, withdrawn) = sessions.remove_access_of_all(&mut all, until).await;
    withdrawn.unwrap();
    assert!(later.0.len() == 1 && all.is_done());
}

#[tokio::test(start_paused = true)]
async fn end_that_another_task_has_seen_to_is_recorded_once() {
    let of_device = sessions_of_device(1);
    let (_, sessions) = Server::new(&signins(&of_device), true);
    let mut all = sessions.list_for_sign_out(&of_device[0].caller).await.unwrap();
    let (withdrawals, withdrawn) = sessions.remove_access_of_all(&mut all, Instant::now()).await;
    withdrawn.unwrap();
    let records = EndRecorder::default();
    let (first, _) = &withdrawals.0[0];
    // As a sign-in does that finds it.
    sessions.finish(first, &records).await.unwrap();
    sessions.release_all(withdrawals, &records).await;
    let recorded = records.0.lock().unwrap();
    assert_eq!(recorded.len(), 2, "one for each: {recorded:?}");
}

/// The first try failed, and its caller signed in again before the second.
#[tokio::test(start_paused = true)]
async fn session_that_was_signed_in_to_again_is_not_meant() {
    let of_device = sessions_of_device(0);
    let (server, sessions) = Server::new(&signins(&of_device), true);
    let mut all = sessions.list_for_sign_out(&of_device[0].caller).await.unwrap();
    let later = examples::at(150).to_string();
    server.0.kept[of_device[0].name().as_str()].annotate(tka_api::resource::ANNOTATION_LAST_SIGN_IN, &later);
    let tried = RemainingSession {
        is_tried: true,
        ..all.sessions.remove(0)
    };
    assert!(sessions.remove_access_of(&tried).await.unwrap().is_none());
    assert_eq!(
        server.asked(),
        ["LIST tkasignins", "GET tkasignins"],
        "nothing is written"
    );
}

/// Another replica saw to it, and its caller signed in again under the same name.
#[tokio::test(start_paused = true)]
async fn next_session_of_a_name_is_left_alone() {
    let of_device = sessions_of_device(0);
    let (server, sessions) = Server::new(&signins(&of_device), true);
    let mut all = sessions.list_for_sign_out(&of_device[0].caller).await.unwrap();
    let (withdrawals, withdrawn) = sessions.remove_access_of_all(&mut all, Instant::now()).await;
    withdrawn.unwrap();
    let kept = &server.0.kept[of_device[0].name().as_str()];
    let mut next = signins(&of_device).remove(0);
    next.metadata.uid = Some("the next".into());
    *kept.0.lock().unwrap() = Some(serde_json::to_value(&next).unwrap());
    let records = EndRecorder::default();
    sessions.release_all(withdrawals, &records).await;
    assert!(records.0.lock().unwrap().is_empty());
    assert!(kept.now().unwrap().metadata.deletion_timestamp.is_none());
}
