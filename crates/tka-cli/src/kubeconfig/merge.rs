//! The user's own kubeconfig: inserting entries of `tka`, and removing exactly those.

mod file;
mod target;

use std::error::Error;
use std::path::{Path, PathBuf};

use tka_api::kubeconfig::EntryNames;

use crate::kubeconfig::exec_plugin;
use crate::kubeconfig::session_cache::MergedEntry;
use crate::net::server::Server;
use crate::sys::files::FileError;
use tka_kubeconfig::{Document, ExecConfig, KubeconfigEntry, List, Obstacle, Refused, quoted};

pub(crate) use file::UserKubeconfig;
pub(crate) use target::MergeTarget;

/// Why the user's kubeconfig was not changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MergeError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("{} was not changed", path.display())]
    Refused { path: PathBuf, source: Refused },
    #[error("{} already has other entries named {name}", path.display())]
    NameConflict { path: PathBuf, name: String },
}

/// Inserts `entry` into `document` and makes it current. The cluster that its context had before is `stale`, if `tka` wrote it: it is removed
/// unless something leads to it.
pub(crate) fn insert_entry(
    document: Document,
    entry: &KubeconfigEntry,
    stale: Option<&str>,
) -> Result<Document, Refused> {
    let document = document.with(entry)?.with_current(&quoted(&entry.context.name))?;
    match stale.filter(|stale| *stale != entry.cluster.name) {
        Some(stale) if !document.is_used(List::Clusters, stale) => document.without(List::Clusters, stale),
        _ => Ok(document),
    }
}

/// Removes the recorded entry, unless it was changed. Parts that other entries use stay.
pub(crate) fn remove_entry(document: Document, record: &MergedEntry) -> Result<Document, Refused> {
    let mut document = document;
    if !is_unchanged(&document, record) {
        return Ok(document);
    }
    let context = context_of(&document, record);
    let is_gone = document.current() == Some(&record.context) && !document.has(List::Contexts, &record.context);
    let was_current = is_gone || context.is_some() && document.current() == context.as_deref();
    if let Some(name) = &context {
        document = document.without(List::Contexts, name)?;
    }
    if was_current {
        document = document.with_current(record.previous.as_deref().unwrap_or("\"\""))?;
    }
    let is_other_cluster = |address: &String| document.server(&record.cluster) != Some(address);
    let has_other_cluster = record.address.as_ref().is_some_and(is_other_cluster);
    if !document.is_used(List::Users, &record.user) {
        document = document.without(List::Users, &record.user)?;
    }
    if !has_other_cluster && !document.is_used(List::Clusters, &record.cluster) {
        document = document.without(List::Clusters, &record.cluster)?;
    }
    Ok(document)
}

/// The context of `record`: the one of its name, or the one that the user renamed. Of several that may be it the current one is.
fn context_of(document: &Document, record: &MergedEntry) -> Option<String> {
    let all = document.names(List::Contexts).into_iter();
    let leads = |names: &EntryNames| (&names.user, &names.cluster) == (&record.user, &record.cluster);
    let leading = all.filter_map(|name| document.context(name)).filter(leads);
    let leading: Vec<_> = leading.map(|names| names.context).collect();
    if document.has(List::Contexts, &record.context) {
        return leading.into_iter().find(|name| *name == record.context);
    }
    match &*leading {
        [renamed] => Some(renamed.clone()),
        several => several.iter().find(|name| document.current() == Some(name)).cloned(),
    }
}

/// Whether the recorded user is unchanged.
fn is_unchanged(document: &Document, record: &MergedEntry) -> bool {
    match document.call(&record.user) {
        Some(call) => matches_record(&call, &record.user, record),
        None => !document.has(List::Users, &record.user) || document.is_plain(&record.user),
    }
}

/// Whether `call` and `user` are those of `record`.
pub(crate) fn matches_record(call: &ExecConfig, user: &str, record: &MergedEntry) -> bool {
    let requested = exec_plugin::requested_session(call).map(|(_, session)| session);
    user == record.user && requested.is_some() && requested == record.session.as_deref()
}

/// The entries in `document` that call the plugin for the server's sessions.
pub(crate) fn find_entries(file: &Path, document: &Document, server: &Server) -> Vec<MergedEntry> {
    let server = server.to_string();
    let contexts = document.names(List::Contexts).into_iter();
    let contexts = contexts.filter_map(|context| document.context(context));
    let ours = contexts.filter_map(|names| {
        let call = document.call(&names.user)?;
        let (_, session) = exec_plugin::requested_session(&call).filter(|(at, _)| *at == server)?;
        Some(MergedEntry::new(file, names, Some(session.to_owned())))
    });
    ours.collect()
}

/// Has the records of a file follow the contexts that the user renamed. Else a new entry of the former name would hide that they are ours.
pub(crate) fn follow_renames(document: &Document, file: &Path, records: &mut [MergedEntry]) {
    for record in records.iter_mut().filter(|record| record.is_in(file)) {
        if document.has(List::Contexts, &record.context) || !is_unchanged(document, record) {
            continue;
        }
        if let Some(renamed) = context_of(document, record) {
            record.context = renamed;
        }
    }
}

/// Those of them that no record is of. Beside a recorded one, other contexts with its user were written by the user, and lead where the user wants.
pub(crate) fn find_unrecorded(
    file: &Path,
    document: &Document,
    server: &Server,
    records: &[MergedEntry],
) -> Vec<MergedEntry> {
    let has_record = |one: &MergedEntry| {
        records
            .iter()
            .any(|record| record.user == one.user && record.is_in(file))
    };
    let mut found = find_entries(file, document, server);
    found.retain(|one| !has_record(one));
    found
}

/// The entries in `document` of the server's sessions: those that call its plugin, and recorded ones that are unchanged.
pub(crate) fn own_entries(
    file: &Path,
    document: &Document,
    server: &Server,
    records: &[MergedEntry],
) -> Vec<MergedEntry> {
    let mut recorded: Vec<_> = records.iter().filter(|record| record.is_in(file)).cloned().collect();
    let mut entries = find_unrecorded(file, document, server, &recorded);
    follow_renames(document, file, &mut recorded);
    recorded.retain(|record| {
        let leads = document.context(&record.context);
        is_unchanged(document, record) && leads.is_none_or(|names| names == record.names())
    });
    entries.extend(recorded);
    entries
}

/// The current context before the entries of `tka`, as written. None if it was not set.
pub(crate) fn previous_context(document: &Document, records: &[MergedEntry]) -> Option<String> {
    let current = document.current()?;
    let user = document.context(current).map(|names| names.user);
    let call = user.as_ref().and_then(|user| document.call(user));
    let requested = call.as_ref().and_then(exec_plugin::requested_session);
    let session = requested.map(|(_, session)| session);
    // The user may have renamed the context. Then its session or user identifies it.
    let is_of = |record: &&MergedEntry| {
        record.context == current
            || session.is_some() && session == record.session.as_deref()
            || user.as_ref() == Some(&record.user) && is_unchanged(document, record)
    };
    match records.iter().find(is_of) {
        Some(record) => record.previous.clone(),
        None if session.is_some() => None,
        None => document.raw_current(),
    }
}

// === impl MergedEntry ===

impl MergedEntry {
    pub(crate) fn new(file: &Path, names: EntryNames, session: Option<String>) -> Self {
        Self {
            file: file.to_owned(),
            created: false,
            session,
            cluster: names.cluster,
            user: names.user,
            context: names.context,
            previous: None,
            address: None,
        }
    }

    /// Whether it is in that kubeconfig, whichever of its paths is given.
    pub(crate) fn is_in(&self, file: &Path) -> bool {
        let is_same = || Some(self.file.canonicalize().ok()? == file.canonicalize().ok()?);
        self.file == file || is_same().unwrap_or_default()
    }

    pub(crate) fn names(&self) -> EntryNames {
        EntryNames::new(self.cluster.clone(), self.user.clone(), self.context.clone())
    }

    /// Whether the entry has that name in `list`.
    pub(crate) fn has(&self, list: List, name: &str) -> bool {
        name == match list {
            List::Clusters => &self.cluster,
            List::Users => &self.user,
            List::Contexts => &self.context,
        }
    }
}

// === impl MergeError ===

impl MergeError {
    /// The refusal of a change to the file at `path`.
    pub(crate) fn refused(path: &Path, source: Refused) -> Self {
        let path = path.to_owned();
        Self::Refused { path, source }
    }

    /// The cause, without the path.
    pub(crate) fn why(&self) -> String {
        self.source().map_or_else(|| self.to_string(), ToString::to_string)
    }

    /// What to do about the file.
    pub(crate) fn advice(&self) -> String {
        match self {
            Self::File(error) => error.advice(),
            Self::Refused {
                source: Refused::Documents { .. },
                path,
            } => format!(
                "keep only one document in {}: kubectl reads only the first",
                path.display()
            ),
            Self::Refused {
                source: Refused::Obstructed { obstacle, .. },
                path,
            } => advice_against(*obstacle, path),
            Self::Refused {
                source: Refused::Characters { .. },
                path,
            } => format!("replace these characters in {} by line feeds", path.display()),
            Self::Refused { path, .. } => {
                format!(
                    "correct {}, so that kubectl and tka can read it: `kubectl config view --kubeconfig {0}` shows what kubectl makes of it",
                    path.display()
                )
            }
            Self::NameConflict { .. } => "rename them: `kubectl config rename-context`".to_owned(),
        }
    }
}

/// What to do about an obstacle in the file at `path`.
fn advice_against(obstacle: Obstacle, path: &Path) -> String {
    match obstacle {
        Obstacle::Anchor | Obstacle::Alias | Obstacle::MergeKey => {
            "replace YAML anchors, aliases and merge keys (&, *, <<) by their values".to_owned()
        }
        Obstacle::Tag => "write it without the tag (!)".to_owned(),
        Obstacle::Layout => format!(
            "print it as kubectl writes it with `kubectl config view --raw --kubeconfig {}`, and save that",
            path.display()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tka_api::Token;
    use tka_api::kubeconfig::{Cluster, KeyedKubeconfig};

    const THEIRS: &str = "\
clusters:
- cluster: {server: https://kind}
  name: kind
contexts:
- context: {cluster: kind, user: kind}
  name: kind
current-context: kind # theirs
users:
- name: kind
  user: {token: theirs}
";

    fn entry(context: &str, session: &str) -> KubeconfigEntry {
        let names = EntryNames::new("tka-cluster", format!("user-{context}"), context);
        let cluster = Cluster {
            server: "https://k".into(),
            ..Default::default()
        };
        let keyed = KeyedKubeconfig::new(names, cluster, Token::from("t".to_owned()).into());
        let mut entry = KubeconfigEntry::current(keyed.into()).unwrap();
        if !session.is_empty() {
            let server = Server::new("tka", 443, None).unwrap();
            entry.user.user = exec_plugin::plugin_user(&server, session, &[]);
        }
        entry
    }

    fn document(text: &str) -> Document {
        Document::parse(text.to_owned()).unwrap()
    }

    /// Inserts an entry as a sign-in does.
    fn merged(document: Document, records: &mut Vec<MergedEntry>, context: &str, session: &str) -> Document {
        let entry = entry(context, session);
        let named = Some(session.to_owned()).filter(|session| !session.is_empty());
        let mut record = MergedEntry::new(Path::new("f"), entry.names(), named);
        record.previous = previous_context(&document, records);
        records.push(record);
        insert_entry(document, &entry, None).unwrap()
    }

    #[test]
    fn inserted_entry_is_removed() {
        for session in ["one", ""] {
            let mut records = vec![];
            let merged = merged(document(THEIRS), &mut records, "ours", session);
            assert_eq!(merged.current(), Some("ours"));
            assert_eq!(remove_entry(merged, &records[0]).unwrap().text(), THEIRS);
        }
    }

    #[test]
    fn cluster_of_the_other_way_is_removed_unless_it_is_used() {
        let inserted = |text: &str, stale| {
            let entry = KubeconfigEntry {
                cluster: tka_api::kubeconfig::NamedCluster {
                    name: "ours".into(),
                    cluster: tka_api::kubeconfig::Cluster::default(),
                },
                ..entry("ours", "")
            };
            let mut entry = entry;
            entry.context.context.cluster = "ours".into();
            let document = insert_entry(document(text), &entry, stale).unwrap();
            document.names(List::Clusters).join(" ")
        };
        let direct =
            "clusters: [{name: c, cluster: {server: x}}]\ncontexts: [{name: ours, context: {cluster: c, user: u}}]\n";
        assert_eq!(inserted(direct, Some("c")), "ours");
        assert_eq!(inserted(direct, None), "c ours");
        let shared = direct.replace(
            "}}]\ncontexts: [",
            "}}]\ncontexts: [{name: other, context: {cluster: c, user: o}}, ",
        );
        assert_eq!(inserted(&shared, Some("c")), "c ours");
    }

    #[test]
    fn removing_all_sessions_restores_the_first_context() {
        for order in [[0, 1], [1, 0]] {
            let mut records = vec![];
            let first = merged(document(THEIRS), &mut records, "one", "1");
            let both = merged(first, &mut records, "two", "2");
            let rest = remove_entry(both, &records[order[0]]).unwrap();
            assert!(rest.has(List::Clusters, "tka-cluster"), "the other one needs it");
            assert_eq!(remove_entry(rest, &records[order[1]]).unwrap().text(), THEIRS);
        }
    }

    #[test]
    fn changed_entries_stay() {
        let mut records = vec![];
        let merged = merged(document(THEIRS), &mut records, "ours", "1");
        let without = |from: &str, to: &str| {
            let changed = document(&merged.text().replace(from, to));
            let after = remove_entry(changed.clone(), &records[0]).unwrap();
            (changed.text().to_owned(), after)
        };
        let (_, after) = without("current-context: \"ours\"", "current-context: else");
        assert_eq!(after.current(), Some("else"));
        let (before, after) = without("- '1'", "- '2'");
        assert_eq!(after.text(), before, "another session's");
        let (_, after) = without("cluster: 'tka-cluster'\n    user", "cluster: kind\n    user");
        assert!(after.has(List::Contexts, "ours") && after.has(List::Users, "user-ours"));
        let theirs = "- context: {cluster: tka-cluster, user: user-ours, namespace: x}\n  name: own\ncurrent";
        let (_, after) = without("current", theirs);
        assert!(!after.has(List::Contexts, "ours"));
        assert!(after.has(List::Clusters, "tka-cluster") && after.has(List::Users, "user-ours"));
    }

    /// cases.md 6: `kubectl config rename-context` of ours, then `logout`.
    #[test]
    fn renamed_context_goes_and_former_one_is_current() {
        for session in ["1", ""] {
            let mut records = vec![];
            let merged = merged(document(THEIRS), &mut records, "ours", session);
            let renamed = merged.text().replace("name: 'ours'", "name: mine");
            let renamed = document(&renamed.replace("current-context: \"ours\"", "current-context: mine"));
            assert_eq!(previous_context(&renamed, &records).as_deref(), Some("kind"));
            let after = remove_entry(renamed.clone(), &records[0]).unwrap();
            assert_eq!(after.text(), THEIRS);
            let deleted = renamed.without(List::Contexts, "mine").unwrap();
            let deleted = deleted.with_current("\"ours\"").unwrap();
            assert_eq!(remove_entry(deleted, &records[0]).unwrap().current(), Some("kind"));
        }
    }

    #[test]
    fn entry_without_a_record_is_found_by_its_session() {
        let merged = merged(document(THEIRS), &mut vec![], "ours", "1");
        let at = |server: &str| find_entries(Path::new("f"), &merged, &Server::new(server, 443, None).unwrap());
        assert!(at("other").is_empty());
        let found = at("tka");
        assert_eq!(found.len(), 1);
        let after = remove_entry(merged, &found[0]).unwrap();
        assert_eq!(after.current(), None);
        assert_eq!(after.names(List::Contexts), ["kind"]);
        let previous = previous_context(&document("current-context: x\n"), &[]);
        assert_eq!(previous.as_deref(), Some("x"));
    }
}
