//! Files that import each other in a circle.

use std::collections::{BTreeMap, BTreeSet};

use super::{problem::Problem, source::Import};

/// The most files that may import each other in a circle: one, and one below it.
const MOST: usize = 2;

/// What is wrong with the imports between the files of one crate: each file that is in a circle of more than two.
pub(super) fn problems(folder: &str, imports: &[Import]) -> Vec<Problem> {
    let reached: BTreeMap<_, _> = imports
        .iter()
        .map(|import| (&*import.from, reached(&import.from, imports)))
        .collect();
    let is_circle = |one: &str, other: &str| {
        reached[one].contains(other) && reached.get(other).is_some_and(|back| back.contains(one))
    };
    let mut problems = Vec::new();
    for file in reached.keys() {
        let circle: BTreeSet<_> = reached.keys().filter(|other| is_circle(file, other)).collect();
        if circle.len() > MOST {
            problems.push(problem(folder, file, &circle, imports));
        }
    }
    problems
}

/// The files that `file` imports, directly or through others.
fn reached<'a>(file: &str, imports: &'a [Import]) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut open = vec![file];
    while let Some(from) = open.pop() {
        for import in imports.iter().filter(|import| import.from == from) {
            if reached.insert(&*import.to) {
                open.push(&import.to);
            }
        }
    }
    reached
}

fn problem(folder: &str, file: &str, circle: &BTreeSet<&&str>, imports: &[Import]) -> Problem {
    let inside = imports
        .iter()
        .filter(|import| import.from == file && circle.contains(&&*import.to));
    let places: Vec<_> = inside
        .map(|import| format!("{} at {}", import.to, import.place))
        .collect();
    Problem {
        key: format!("{folder}: {file}"),
        advice: format!(
            "{folder}/src/{file}: it is in a circle of {} files that import each other; it imports {}",
            circle.len(),
            places.join(", ")
        ),
    }
}
