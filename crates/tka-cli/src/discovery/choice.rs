//! The servers that a device without a setting may choose from.

use crate::discovery::clusters::{Cluster, Clusters, State, access};
use crate::terminal::messages::clean;
use crate::terminal::output::RenderOptions;
use crate::terminal::table::table;

/// The servers to choose from: those that let the caller in, or else those that answer.
pub(crate) fn choices(found: Clusters) -> Vec<Cluster> {
    let answering: Vec<_> = found.items.into_iter().filter(is_server).collect();
    let (open, refusing): (Vec<_>, Vec<_>) = answering.into_iter().partition(lets_in);
    if open.is_empty() { refusing } else { open }
}

/// The server that `answer` names: the number of its line, its name or its URL.
pub(crate) fn answered<'a>(choices: &'a [Cluster], answer: &str) -> Option<&'a Cluster> {
    let answer = answer.trim();
    let by_number = answer
        .parse()
        .ok()
        .and_then(|number: usize| choices.get(number.checked_sub(1)?));
    let mut all = choices.iter();
    by_number.or_else(|| all.find(|one| one.name.eq_ignore_ascii_case(answer) || one.server == answer))
}

/// The choices as numbered lines.
pub(crate) fn numbered(choices: &[Cluster], options: &RenderOptions<'_>) -> String {
    let row = |(at, one): (usize, &Cluster)| {
        let label = |(name, value): (&String, &String)| format!("{}={}", clean(name), clean(value));
        [
            (at + 1).to_string(),
            one.name.clone(),
            one.server.clone(),
            one.labels.iter().map(label).collect::<Vec<_>>().join(" "),
            access(one, options),
        ]
    };
    let rows: Vec<_> = choices.iter().enumerate().map(row).collect();
    table(["", "NAME", "SERVER", "LABELS", "ACCESS"], &rows, options)
}

fn is_server(one: &Cluster) -> bool {
    one.state == State::Answers
}

/// Whether a rule reaches the caller there. The original's server does not list rules.
fn lets_in(one: &Cluster) -> bool {
    match &one.rules {
        Some(rules) => !rules.is_empty(),
        None => one.problem.is_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::candidates::Candidate;
    use crate::net::server::Server;
    use serde_json::json;

    fn cluster(name: &str, state: State, instance: Option<&str>, rules: Option<usize>) -> Cluster {
        let candidate = Candidate {
            server: Server::new(&format!("{name}.example.ts.net"), 443, None).unwrap(),
            node: name.into(),
            is_default: false,
            is_guessed_port: true,
            is_offline: false,
            sessions: vec![],
        };
        let rule = json!({"role": "view", "namespaces": [], "period": "8h0m0s", "priority": 0, "require_reason": false, "default": true});
        let rule = |_| serde_json::from_value(rule.clone()).unwrap();
        Cluster {
            state,
            instance: instance.map(Into::into),
            rules: rules.map(|count| (0..count).map(rule).collect()),
            ..Cluster::new(&candidate)
        }
    }

    fn chosen(all: Vec<Cluster>) -> Vec<String> {
        choices(Clusters::new(all)).into_iter().map(|one| one.name).collect()
    }

    #[test]
    fn only_servers_count_and_replicas_are_one() {
        use State::{Answers, Foreign, Silent};
        let all = || {
            vec![
                cluster("west-1", Answers, Some("w"), Some(1)),
                cluster("west-0", Answers, Some("w"), Some(2)),
                cluster("east", Answers, Some("e"), Some(1)),
                cluster("hotel", Foreign, None, Some(1)),
                cluster("gone", Silent, Some("g"), Some(1)),
                cluster("none", Answers, Some("n"), Some(0)),
            ]
        };
        assert_eq!(chosen(all()), ["east", "west-0"]);
        let original = || cluster("original", Answers, None, None);
        assert_eq!(
            chosen(vec![original(), cluster("other", Answers, None, None)]),
            ["original", "other"]
        );
        let refusing = || Cluster {
            problem: Some("no rule reaches you".into()),
            ..cluster("refusing", Answers, None, None)
        };
        assert_eq!(chosen(vec![refusing(), original()]), ["original"]);
        // Its refusal says what to do.
        assert_eq!(chosen(vec![refusing()]), ["refusing"]);
        assert!(chosen(vec![]).is_empty());
    }

    #[test]
    fn an_answer_is_a_number_or_a_name() {
        let all = ["east", "west", "7"].map(|name| cluster(name, State::Answers, None, None));
        let all = Clusters::new(all.into()).items;
        let of = |answer: &str| answered(&all, answer).map(|one| one.name.clone());
        let names: Vec<_> = all.iter().map(|one| one.name.clone()).collect();
        for (at, name) in names.iter().enumerate() {
            assert_eq!(of(&format!(" {} ", at + 1)).as_ref(), Some(name));
        }
        assert_eq!(of("WEST").as_deref(), Some("west"));
        assert_eq!(of("https://east.example.ts.net").as_deref(), Some("east"));
        assert_eq!(of("7").as_deref(), Some("7"), "a name that is a number too large");
        for none in ["", "0", "4", "-1", "wes"] {
            assert_eq!(of(none), None, "{none}");
        }
    }
}
