//! Changing the text of a kubeconfig, and seeing that it then says what it said and the change, and nothing else.

use std::rc::Rc;

use serde::Serialize;
use serde_json::Value;
use tka_api::kubeconfig::NamedUser;

use crate::document::{CURRENT, Document, List, Refused, name};
use crate::entry::KubeconfigEntry;
use crate::model::Kubeconfig;
use crate::obstacle::{self, Obstacle};
use crate::scalar::{Scalar, resolve};
use crate::yaml::{self, Edit, Editor, Node, becomes, flow_item_removal, indented, lines, same};

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

/// The text that is quoted in `raw` without its quotes, if kubectl reads the same then. Lines of blanks may follow only such a text.
fn bare(raw: &str) -> Option<String> {
    let is_text = |node: &Node, is_plain| node.is_plain() == is_plain && node.tag().is_none() && !node.has_anchor;
    let quoted = yaml::parse(raw).ok()?.root?;
    let text = quoted.text().filter(|_| is_text(&quoted, false))?;
    let bare = yaml::parse(text).ok()?.root?;
    let is_same = is_text(&bare, true) && bare.span.len() == text.len() && bare.text() == Some(text);
    let stands_for = resolve(text, None, true);
    (is_same && stands_for == Ok(Scalar::Text(text.to_owned()))).then(|| text.to_owned())
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
        let bare = bare(raw);
        self.attempt(CURRENT, |document| {
            let changed = document.with_current_as(raw);
            changed.or_else(|refused| bare.as_ref().map_or(Err(refused), |raw| document.with_current_as(raw)))
        })
    }

    fn with_current_as(&self, raw: &str) -> Result<Self, Refused> {
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
        let name = wanted.as_deref().map_or(Some(String::new()), name);
        says.current_context = name.ok_or(Refused::SideEffects)?;
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
        self.attempt(List::Users.key(), |document| document.try_exec(user, key, text))
    }

    fn try_exec(&self, user: &str, key: &str, text: &str) -> Result<Self, Refused> {
        let at = self.position(List::Users, user).ok_or(Refused::SideEffects)?;
        let exec = self.body(List::Users, user).and_then(|body| body.get("exec"));
        let Some((exec, value)) = exec.and_then(|exec| Some((exec, exec.get(key)?))) else {
            return Ok(self.clone());
        };
        if value.text() == Some(text) {
            return Ok(self.clone());
        }
        let quoted = quoted(text);
        let ways = [bare(&quoted), Some(quoted)].into_iter().flatten().rev();
        let edits = ways.flat_map(|raw| self.editor().replacement_candidates(exec, key, value, &raw));
        let edits = edits.collect();
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
        let is_whole = |raw: &&str| {
            let is_same = yaml::parse(raw).is_ok_and(|again| match again.root {
                Some(again) => again.means(value),
                None => value.is_null(),
            });
            is_same && !raw.contains(['\n', '\r'])
        };
        // The tag stands before it.
        let colon = self.editor().colon(self.root.as_ref()?, CURRENT);
        let with_tag = colon.and_then(|colon| self.text.get(colon..value.span.end));
        let ways = [self.text.get(value.span.clone()), with_tag.map(str::trim)];
        let raw = ways.into_iter().flatten().find(is_whole);
        Some(raw.map_or_else(|| quoted(&self.says.current_context), ToOwned::to_owned))
    }

    /// The same without the item of that name, if there is one.
    pub fn without(self, list: List, name: &str) -> Result<Self, Refused> {
        let Some(at) = self.position(list, name) else {
            return Ok(self);
        };
        self.attempt(list.key(), |document| document.without_item(list, at))
    }

    fn without_item(&self, list: List, at: usize) -> Result<Self, Refused> {
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
        let null = yaml::parse(&self.text)?.root;
        if let Some(null) = null.as_ref().filter(|null| null.tag().is_some() || null.has_anchor) {
            return Err((null.line, Obstacle::Tag).into());
        }
        let null = null.map_or(0..0, |null| null.span.clone());
        let edits = self
            .editor()
            .head_candidates(null.clone(), "apiVersion: 'v1'\nkind: 'Config'\n");
        let edited = edits.into_iter().filter_map(|edit| self.editor().edited(edit));
        let mut whole = edited.filter_map(|text| Self::parse(text).ok());
        let line = lines::number(&self.text, null.start);
        let is_whole = |document: &Self| document.root.is_some() && document.is_blank();
        whole.find(is_whole).ok_or((line, Obstacle::Layout).into())
    }

    fn with_item(self, list: List, item: &Item) -> Result<Self, Refused> {
        self.attempt(list.key(), |document| document.try_item(list, item))
    }

    fn try_item(&self, list: List, item: &Item) -> Result<Self, Refused> {
        let older = self.position(list, &item.name).map(|at| &self.items(list)[at]);
        if older.is_some_and(|older| item.is(older)) {
            return Ok(self.clone());
        }
        let rest = self.clone().without(list, &item.name)?;
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
        let edited = |edit| {
            let edited = Self::parse(self.editor().edited(edit)?).ok()?;
            let origin = self.origin.clone();
            Some(Self { origin, ..edited })
        };
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

    /// Carries out a change to the value of `key`, or says what stands in its way.
    fn attempt(&self, key: &str, change: impl Fn(&Self) -> Result<Self, Refused>) -> Result<Self, Refused> {
        let again = |refused| {
            let other = self.without_tabs();
            other.and_then(|other| change(&other).ok()).ok_or(refused)
        };
        let changed = change(self).or_else(again);
        changed.map_err(|refused| self.explained(refused, key))
    }

    /// The same without tabs in lines in which nothing else is, if it says the same then. Such a line may follow a text without quotes, and not what
    /// may come in its place.
    fn without_tabs(&self) -> Option<Self> {
        let is_blank = |line: &str| line.contains('\t') && line.chars().all(|c| matches!(c, ' ' | '\t'));
        let shortened = |line: &str| {
            let text = line.trim_end_matches(['\n', '\r']);
            let kept = if is_blank(text) { text.len() } else { 0 };
            line[kept..].to_owned()
        };
        let text: String = self.text.split_inclusive(['\n', '\r']).map(shortened).collect();
        let other = Self::parse(text).ok().filter(|other| other.text != self.text)?;
        let means_the_same = match (&self.root, &other.root) {
            (Some(root), Some(other)) => root.means(other),
            _ => false,
        };
        let origin = self.origin.clone();
        means_the_same.then_some(Self { origin, ..other })
    }

    /// Says what stood in the way of a change to the value of `key`.
    fn explained(&self, refused: Refused, key: &str) -> Refused {
        match (refused, &self.origin) {
            (Refused::SideEffects, Some(origin)) => obstacle::to_change(origin, key).into(),
            (refused, _) => refused,
        }
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
