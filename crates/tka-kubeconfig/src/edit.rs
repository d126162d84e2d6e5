//! Changing the text of a kubeconfig, and seeing that it then says what it said and the change, and nothing else.

use std::rc::Rc;

use serde::Serialize;
use serde_json::Value;
use tka_api::kubeconfig::NamedUser;

use crate::document::{CURRENT, Document, List, Refused};
use crate::entry::KubeconfigEntry;
use crate::model::Kubeconfig;
use crate::scalar::{Scalar, resolve};
use crate::yaml::{self, Edit, Editor, Node, becomes, flow_item_removal, indented, same};

/// An item of a list.
struct Item {
    name: String,
    json: String,
    /// In lines, without the end of the last one.
    block: String,
    /// What it says in either: its keys are in quotes in one and bare in the other.
    meanings: [Rc<Node>; 2],
}

/// A text in YAML, also where that is JSON.
#[must_use]
pub fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// A kubeconfig, or a part of one, as YAML. Every text is quoted: kubectl's parser takes a bare `on` or `1e3` for something else.
pub fn to_yaml(part: &impl Serialize) -> Result<String, serde_saphyr::ser::Error> {
    serde_saphyr::to_string_with_options(
        part,
        serde_saphyr::ser_options! { quote_all: true, prefer_block_scalars: false },
    )
}

// === impl Document ===

impl Document {
    /// The same with `entry`, in the place of what has its names. Where nothing is said yet, a whole kubeconfig.
    pub fn with(self, entry: &KubeconfigEntry) -> Result<Self, Refused> {
        self.with_head()?
            .with_item(List::Clusters, &Item::new(&entry.cluster.name, &entry.cluster)?)?
            .with_user(&entry.user)?
            .with_item(List::Contexts, &Item::new(&entry.context.name, &entry.context)?)
    }

    /// The same with `user`, in the place of the one of its name.
    pub fn with_user(self, user: &NamedUser) -> Result<Self, Refused> {
        self.with_item(List::Users, &Item::new(&user.name, user)?)
    }

    /// The same with another current context. What is `raw` is YAML: [`quoted`], or what stood there before.
    pub fn with_current(self, raw: &str) -> Result<Self, Refused> {
        let root = self.root()?;
        let edits = match root.get(CURRENT) {
            Some(value) if value.has_anchor => return Err(Refused::SideEffects),
            Some(value) if value.span.is_empty() || raw.is_empty() => {
                let colon = self.editor().colon(root, CURRENT).ok_or(Refused::SideEffects)?;
                let raw = if raw.is_empty() {
                    String::new()
                } else {
                    format!(" {raw}")
                };
                vec![vec![(colon..value.span.end.max(colon), raw)]]
            }
            Some(value) => self.editor().replacement_candidates(root, CURRENT, value, raw),
            None if root.is_flow() => self.editor().new_key(root, &format!("\"{CURRENT}\": {raw}")),
            None => self.editor().new_key(root, &format!("{CURRENT}: {raw}")),
        };
        let wanted = yaml::parse(raw)?.root;
        let mut says = self.says.clone();
        says.current_context = context_name(wanted.as_deref())?;
        self.changed(edits, CURRENT, &[says], |document| {
            match (document.value(CURRENT), &wanted) {
                (Some(value), Some(wanted)) => value.means(wanted),
                (Some(value), None) => value.is_null(),
                (None, _) => false,
            }
        })
    }

    /// Sets `key` of the `exec` of a user to `text`. Where the user has no such key it changes nothing. All else of the user stays, also what we know
    /// nothing of.
    pub fn with_exec(self, user: &str, key: &str, text: &str) -> Result<Self, Refused> {
        let at = self.position(List::Users, user).ok_or(Refused::SideEffects)?;
        let exec = self.body(List::Users, user).and_then(|body| body.get("exec"));
        let Some((exec, value)) = exec.and_then(|exec| Some((exec, exec.get(key)?))) else {
            return Ok(self);
        };
        if value.text() == Some(text) {
            return Ok(self);
        }
        let edits = self.editor().replacement_candidates(exec, key, value, &quoted(text));
        let list = self.value(List::Users.key());
        if list.is_some_and(|list| list.has_anchor) {
            return Err(Refused::SideEffects);
        }
        let (before, path) = (self.items(List::Users), [List::Users.field(), "exec", key]);
        let mut says = self.says.clone();
        let call = says.users.get_mut(at).and_then(|user| user.item.exec.as_mut());
        match (key, call) {
            ("command", Some(call)) => text.clone_into(&mut call.command),
            ("apiVersion", Some(call)) => text.clone_into(&mut call.api_version),
            _ => return Err(Refused::SideEffects),
        }
        self.changed(edits, List::Users.key(), &[says], |document| {
            let after = document.items(List::Users);
            let (Some(item), Some(rest)) = (after.get(at), after.get(at + 1..)) else {
                return false;
            };
            same(&after[..at], &before[..at])
                && same(rest, &before[at + 1..])
                && becomes(Some(&before[at]), item, &path, &|old, new| new.is_text_like(old, text))
        })
    }

    /// How the current context is written, for [`Self::with_current`] to restore; none where nothing is.
    #[must_use]
    pub fn raw_current(&self) -> Option<String> {
        let value = self.value(CURRENT)?;
        let raw = self.text.get(value.span.clone())?;
        let is_whole = yaml::parse(raw).is_ok_and(|again| match again.root {
            Some(again) => again.means(value),
            None => value.is_null(),
        });
        if is_whole && !raw.contains('\n') {
            return Some(raw.to_owned());
        }
        value.text().map(quoted)
    }

    /// The same without the item of that name, if there is one.
    pub fn without(self, list: List, name: &str) -> Result<Self, Refused> {
        let Some(at) = self.position(list, name) else {
            return Ok(self);
        };
        let root = self.root()?;
        let value = root.get(list.key()).ok_or(Refused::SideEffects)?;
        let edits = if value.is_flow() {
            flow_item_removal(value, at)
        } else {
            let lines = self.editor().lines_of(&value.items()[at]).ok_or(Refused::SideEffects)?;
            let mut edit = vec![(lines, String::new())];
            if value.items().len() == 1 {
                let colon = self.editor().colon(root, list.key()).ok_or(Refused::SideEffects)?;
                edit.insert(0, (colon..colon, " []".to_owned()));
            }
            vec![edit]
        };
        let mut rest = self.items(list).to_vec();
        rest.remove(at);
        let mut says = self.says.clone();
        match list {
            List::Clusters => drop(says.clusters.remove(at)),
            List::Users => drop(says.users.remove(at)),
            List::Contexts => drop(says.contexts.remove(at)),
        }
        self.changed(edits, list.key(), &[says], |document| same(document.items(list), &rest))
    }

    /// The same, and a kubeconfig if it says nothing yet.
    fn with_head(self) -> Result<Self, Refused> {
        if self.root.is_some() {
            return Ok(self);
        }
        let newline = if self.text.is_empty() || self.text.ends_with('\n') {
            ""
        } else {
            "\n"
        };
        let head = "apiVersion: 'v1'\nkind: 'Config'\n";
        let whole = Self::parse(format!("{}{newline}{head}", self.text)).map_err(|_| Refused::SideEffects)?;
        whole.root.is_some().then_some(whole).ok_or(Refused::SideEffects)
    }

    fn with_item(self, list: List, item: &Item) -> Result<Self, Refused> {
        let older = self.position(list, &item.name).map(|at| &self.items(list)[at]);
        if older.is_some_and(|older| item.is(older)) {
            return Ok(self);
        }
        let rest = self.without(list, &item.name)?;
        let edits = rest.insertion_candidates(list, item)?;
        let before = rest.items(list);
        let is_wanted = |document: &Self| {
            let after = document.items(list);
            let at_end = after
                .split_last()
                .is_some_and(|(last, rest)| item.is(last) && same(rest, before));
            at_end
                || after
                    .split_first()
                    .is_some_and(|(first, rest)| item.is(first) && same(rest, before))
        };
        let says = item.says(list, &rest.says)?;
        rest.changed(edits, list.key(), &says, is_wanted)
    }

    /// Where an item can be added to a list, the best place first.
    fn insertion_candidates(&self, list: List, item: &Item) -> Result<Vec<Edit>, Refused> {
        let (root, editor) = (self.root()?, self.editor());
        let json = || format!("[{}]", item.json);
        let Some(value) = root.get(list.key()) else {
            return Ok(if root.is_flow() {
                editor.new_key(root, &format!("\"{}\": {}", list.key(), json()))
            } else {
                editor.new_key(root, &format!("{}:\n{}", list.key(), item.block))
            });
        };
        if value.has_anchor || value.is_alias() {
            return Err(Refused::SideEffects);
        }
        if let (Some(first), Some(last)) = (value.items().first(), value.items().last()) {
            if value.is_flow() {
                return Ok(vec![vec![(last.span.end..last.span.end, format!(", {}", item.json))]]);
            }
            let dash = editor.dash(first).ok_or(Refused::SideEffects)?;
            let lines = indented(&item.block, editor.column(dash));
            return Ok(editor.insert_adjacent(last.span.end, dash, &lines));
        }
        let edit = if root.is_flow() {
            let nothing = editor.nothing(root, list.key(), value);
            nothing.map(|nothing| vec![(nothing, format!(" {}", json()))])
        } else {
            let lines = indented(&item.block, editor.column(root.span.start));
            editor.lines_for_nothing(root, list.key(), value, &lines)
        };
        Ok(vec![edit.ok_or(Refused::SideEffects)?])
    }

    /// Applies the first of `edits` that changes the value of `key` as wanted, and no other value. kubectl must then read one of `says`.
    fn changed(
        &self,
        edits: Vec<Edit>,
        key: &str,
        says: &[Kubeconfig],
        is_wanted: impl Fn(&Self) -> bool,
    ) -> Result<Self, Refused> {
        let edited = |edit| Self::parse(self.editor().edited(edit)?).ok();
        let after = edits.into_iter().filter_map(edited);
        let mut after = after
            .filter(|after| says.contains(&after.says))
            .filter(|after| is_wanted(after) && self.differs_only_in(key, after));
        after.next().ok_or(Refused::SideEffects)
    }

    fn differs_only_in(&self, key: &str, other: &Self) -> bool {
        let others = |document: &Self| -> Vec<Rc<Node>> {
            let entries = document.root.iter().flat_map(|root| root.entries());
            let entries = entries.filter(|(name, _)| name.text() != Some(key));
            entries
                .flat_map(|(name, value)| [Rc::clone(name), Rc::clone(value)])
                .collect()
        };
        same(&others(self), &others(other))
    }

    fn root(&self) -> Result<&Node, Refused> {
        self.root.as_deref().ok_or(Refused::SideEffects)
    }

    fn editor(&self) -> Editor<'_> {
        Editor(&self.text)
    }

    fn value(&self, key: &str) -> Option<&Rc<Node>> {
        self.root.as_ref()?.get(key)
    }
}

/// What a current context is that is written so.
fn context_name(written: Option<&Node>) -> Result<String, Refused> {
    let scalar = written.map(|node| resolve(node.text()?, node.tag(), node.is_plain()).ok());
    match scalar {
        None | Some(Some(Scalar::Null)) => Ok(String::new()),
        Some(Some(Scalar::Text(text))) => Ok(text),
        Some(_) => Err(Refused::SideEffects),
    }
}

// === impl Item ===

impl Item {
    fn new(name: &str, item: &impl Serialize) -> Result<Self, Refused> {
        let json = serde_json::to_string(item).map_err(|_| Refused::SideEffects)?;
        let block = to_yaml(item).map_err(|_| Refused::SideEffects)?;
        let meaning = |text: &str| yaml::parse(text)?.root.ok_or(Refused::SideEffects);
        Ok(Self {
            name: name.to_owned(),
            meanings: [meaning(&json)?, meaning(&block)?],
            block: to_yaml(&[item])
                .map_err(|_| Refused::SideEffects)?
                .trim_end()
                .to_owned(),
            json,
        })
    }

    /// What kubectl may read once this is in the list: as its last item or its first.
    fn says(&self, list: List, before: &Kubeconfig) -> Result<[Kubeconfig; 2], Refused> {
        fn put<T: Clone>(all: &mut Vec<T>, new: &[T], is_last: bool) {
            let at = if is_last { all.len() } else { 0 };
            all.splice(at..at, new.iter().cloned());
        }
        let own = Kubeconfig::from_text(&format!("{{\"{}\": [{}]}}", list.key(), self.json))?;
        Ok([true, false].map(|is_last| {
            let mut says = before.clone();
            put(&mut says.clusters, &own.clusters, is_last);
            put(&mut says.users, &own.users, is_last);
            put(&mut says.contexts, &own.contexts, is_last);
            says
        }))
    }

    fn is(&self, node: &Node) -> bool {
        self.meanings.iter().any(|meaning| node.means(meaning))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ops::Range;

    #[test]
    fn what_would_change_more_or_less_than_it_should_is_not_done() {
        let text = "users: []\nother: yes\n";
        let document = Document::parse(text.to_owned()).unwrap();
        let at = |part: &str| text.find(part).map(|at| at..at + part.len()).unwrap();
        let edit = |range: Range<usize>, new: &str| vec![(range, new.to_owned())];
        let (wrong, right) = (edit(at("yes"), "'yes'"), edit(at("[]"), "[{name: a}]"));
        let wanted = [Kubeconfig::from_text("users: [{name: a}]").unwrap()];
        let has_one = |document: &Document| document.items(List::Users).len() == 1;
        let changed = |edits: &[&Edit]| {
            let edits = edits.iter().map(|edit| (*edit).clone()).collect();
            let changed = document.changed(edits, "users", &wanted, has_one);
            changed.map(|document| document.text)
        };
        assert_eq!(changed(&[&wrong]), Err(Refused::SideEffects));
        assert_eq!(changed(&[&edit(at("[]"), "null")]), Err(Refused::SideEffects));
        let both = [right.clone(), wrong.clone()].concat();
        assert_eq!(changed(&[&both]), Err(Refused::SideEffects));
        assert_eq!(changed(&[&edit(at("[]"), "{")]), Err(Refused::SideEffects));
        assert_eq!(changed(&[&wrong, &right]).unwrap(), "users: [{name: a}]\nother: yes\n");
    }

    #[test]
    fn last_line_without_an_end_stays_the_last() {
        for text in [
            "x: |\n  y",
            "kind: Config\nusers:\n- name: a\n  user: {token: t}",
            "x: y",
        ] {
            let document = Document::parse(text.to_owned()).unwrap();
            let user = NamedUser {
                name: "ours".into(),
                user: tka_api::Token::from("t".to_owned()).into(),
            };
            let with = document.with_user(&user).unwrap().with_current("\"x\"").unwrap();
            assert!(with.text.ends_with(text.lines().last().unwrap()), "{:?}", with.text);
        }
    }
}
