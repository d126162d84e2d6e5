//! What this process keeps in memory about each session.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;

/// A value for each session, by the session's name.
///
/// Several sessions may follow each other under one name. `I` is the incarnation, which tells them apart: the UID of the object, or the time of
/// the sign-in where another sign-in begins anew. A value belongs to one incarnation. The next incarnation starts without it, and takes its place.
///
/// Reading changes nothing. Values go by [`remove`](Self::remove), [`forget`](Self::forget) and [`retain`](Self::retain) alone. The owner forgets
/// a session that is watched when it is gone, and looks through all of them now and then.
pub struct PerSession<I, T>(HashMap<String, (I, T)>);

// === impl PerSession ===

impl<I, T> Default for PerSession<I, T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<I: fmt::Debug, T: fmt::Debug> fmt::Debug for PerSession<I, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PerSession").field(&self.0).finish()
    }
}

impl<I: PartialEq, T> PerSession<I, T> {
    /// The value of this incarnation.
    #[must_use]
    pub fn get(&self, name: &str, incarnation: &I) -> Option<&T> {
        let (known, value) = self.0.get(name)?;
        (known == incarnation).then_some(value)
    }

    /// The value of this incarnation, to change it.
    pub fn get_mut(&mut self, name: &str, incarnation: &I) -> Option<&mut T> {
        let (known, value) = self.0.get_mut(name)?;
        (*known == *incarnation).then_some(value)
    }

    /// The value of this incarnation, which is `first()` where it has none yet.
    pub fn get_or_insert_with(&mut self, name: &str, incarnation: I, first: impl FnOnce() -> T) -> &mut T {
        match self.0.entry(name.to_owned()) {
            Entry::Occupied(entry) => {
                let known = entry.into_mut();
                if known.0 != incarnation {
                    *known = (incarnation, first());
                }
                &mut known.1
            }
            Entry::Vacant(entry) => &mut entry.insert((incarnation, first())).1,
        }
    }

    /// Sets the value of this incarnation.
    pub fn insert(&mut self, name: &str, incarnation: I, value: T) {
        self.0.insert(name.to_owned(), (incarnation, value));
    }

    /// Removes the value of this incarnation, and leaves that of another.
    pub fn remove(&mut self, name: &str, incarnation: &I) {
        if self.get(name, incarnation).is_some() {
            self.0.remove(name);
        }
    }

    /// Removes the value of whatever incarnation.
    pub fn forget(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// Removes all values but those of which `keep` holds, by name, incarnation and value.
    pub fn retain(&mut self, mut keep: impl FnMut(&str, &I, &T) -> bool) {
        self.0
            .retain(|name, (incarnation, value)| keep(name, incarnation, value));
    }

    /// All values, in no order.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.0.values().map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn value_belongs_to_one_incarnation() {
        let mut known = PerSession::default();
        known.insert("a", 1, "first");
        assert_eq!((known.get("a", &1), known.get("a", &2)), (Some(&"first"), None));
        assert_eq!(known.get_mut("a", &2), None);
        assert_eq!(*known.get_or_insert_with("a", 1, || "again"), "first");
        assert_eq!(*known.get_or_insert_with("a", 2, || "second"), "second");
        assert_eq!((known.get("a", &1), known.get("a", &2)), (None, Some(&"second")));
    }

    #[test]
    fn removal_leaves_another_incarnation() {
        let mut known = PerSession::default();
        known.insert("a", 2, "second");
        known.remove("a", &1);
        assert_eq!(known.get("a", &2), Some(&"second"));
        known.remove("a", &2);
        assert_eq!(known.values().count(), 0);
        known.insert("b", 3, "third");
        known.forget("b");
        assert_eq!(known.values().count(), 0);
    }

    #[test]
    fn what_is_not_retained_is_gone() {
        let mut known = PerSession::default();
        for (name, incarnation) in [("a", 1), ("b", 1), ("c", 2)] {
            known.insert(name, incarnation, name);
        }
        known.retain(|name, incarnation, value| name == *value && *incarnation == 1 && name != "a");
        assert_eq!(known.values().collect::<Vec<_>>(), [&"b"]);
    }
}
