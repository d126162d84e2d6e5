use proptest::prelude::*;
use serde_json::{Value, json};
use tka_api::Token;
use tka_api::kubeconfig::{Cluster, EntryNames, KeyedKubeconfig};

use crate::document::{Document, List, Refused};
use crate::edit::quoted;
use crate::entry::KubeconfigEntry;
use crate::model::Kubeconfig;
use crate::obstacle::Obstacle;

const EVERYDAY: &str = "\
apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: UEVN
    server: https://kind:6443
  name: kind
contexts:
- context:
    cluster: kind
    user: kind
  name: kind
current-context: kind
kind: Config
preferences: {}
users:
- name: kind
  user:
    token: secret
";

fn entry(name: &str) -> KubeconfigEntry {
    let names = EntryNames::new(format!("{name}-cluster"), format!("{name}-user"), name.to_owned());
    let cluster = Cluster {
        server: "https://k:6443".into(),
        insecure_skip_tls_verify: true,
        ..Default::default()
    };
    let token = Token::from("ours".to_owned());
    let keyed = KeyedKubeconfig::new(names, cluster, token.into()).in_namespace(Some("on".into()));
    KubeconfigEntry::current(keyed.into()).unwrap()
}

fn document(text: &str) -> Document {
    Document::parse(text.to_owned()).unwrap()
}

fn merged(document: Document, entry: &KubeconfigEntry) -> Result<Document, Refused> {
    document.with(entry)?.with_current(&quoted(&entry.context.name))
}

fn removed(document: Document, entry: &KubeconfigEntry, current: &str) -> Result<Document, Refused> {
    let names = entry.names();
    document
        .without(List::Contexts, &names.context)?
        .without(List::Users, &names.user)?
        .without(List::Clusters, &names.cluster)?
        .with_current(current)
}

/// What another YAML reader takes it for.
fn read(document: &Document) -> Value {
    serde_saphyr::from_str(document.text()).unwrap()
}

/// `before` with `entry`, by value.
fn expected(before: &Value, entry: &KubeconfigEntry) -> Value {
    let mut expected = before.clone();
    if expected.is_null() {
        expected = json!({"apiVersion": "v1", "kind": "Config"});
    }
    for (list, item) in [
        ("clusters", json!(entry.cluster)),
        ("users", json!(entry.user)),
        ("contexts", json!(entry.context)),
    ] {
        let list = &mut expected[list];
        if list.is_null() {
            *list = json!([]);
        }
        list.as_array_mut().unwrap().push(item);
    }
    expected["current-context"] = json!(entry.context.name);
    expected
}

/// What refers to an anchor is compared by it, also behind what is added.
#[test]
fn file_with_an_alias_is_changed_and_changed_back() {
    let text = EVERYDAY.replace("- context:\n", "- context: &home\n").replace(
        "  name: kind\ncurrent",
        "  name: kind\n- context: *home\n  name: other\ncurrent",
    );
    assert!(text.contains("*home"), "{text}");
    let entry = entry("ours");
    let with = Document::parse(text.clone()).unwrap().with(&entry).unwrap();
    assert_eq!(with.names(List::Contexts), ["kind", "other", "ours"]);
    let without = [List::Contexts, List::Users, List::Clusters]
        .into_iter()
        .fold(with, |rest, list| {
            let name = match list {
                List::Contexts => &entry.context.name,
                List::Users => &entry.user.name,
                List::Clusters => &entry.cluster.name,
            };
            rest.without(list, name).unwrap()
        });
    assert_eq!(without.text(), text);
}

#[test]
fn entry_goes_behind_what_is_there() {
    let merged = merged(document(EVERYDAY), &entry("ours")).unwrap();
    insta::assert_snapshot!(merged.text(), @"
    apiVersion: v1
    clusters:
    - cluster:
        certificate-authority-data: UEVN
        server: https://kind:6443
      name: kind
    - name: 'ours-cluster'
      cluster:
        server: 'https://k:6443'
        insecure-skip-tls-verify: true
    contexts:
    - context:
        cluster: kind
        user: kind
      name: kind
    - name: 'ours'
      context:
        cluster: 'ours-cluster'
        user: 'ours-user'
        namespace: 'on'
    current-context: \"ours\"
    kind: Config
    preferences: {}
    users:
    - name: kind
      user:
        token: secret
    - name: 'ours-user'
      user:
        token: 'ours'
    ");
    assert_eq!(removed(merged, &entry("ours"), "kind").unwrap().text(), EVERYDAY);
}

#[test]
fn nothing_becomes_a_kubeconfig() {
    for text in ["", "# mine\n", "---\n", "---", "# no end"] {
        let whole = merged(document(text), &entry("ours")).unwrap();
        assert!(whole.text().starts_with(text), "{text:?}: {:?}", whole.text());
        assert_eq!(read(&whole), expected(&Value::Null, &entry("ours")));
        let blank = removed(whole, &entry("ours"), "\"\"").unwrap();
        assert!(blank.is_blank(), "{:?}", blank.text());
        assert_eq!(blank.may_have_comment(), text.contains('#'), "{:?}", blank.text());
    }
    for text in ["{}", "{ }", "clusters: []\n", "users:\n", "contexts: null"] {
        let merged = merged(document(text), &entry("ours")).unwrap();
        assert_eq!(read(&merged), expected(&read(&document(text)), &entry("ours")));
        assert!(document(text).is_blank());
    }
    for text in [
        EVERYDAY,
        "x: y",
        "extensions: [{name: a}]",
        "preferences: {colors: true}",
        "current-context: a",
    ] {
        assert!(!document(text).is_blank(), "{text}");
    }
}

#[test]
fn equal_value_changes_nothing_and_new_value_replaces_the_old() {
    let first = merged(document(EVERYDAY), &entry("ours")).unwrap();
    let again = merged(first.clone(), &entry("ours")).unwrap();
    assert_eq!(again.text(), first.text());
    let mut other = entry("ours");
    other.cluster.cluster.server = "https://other:6443".into();
    let replaced = merged(first, &other).unwrap();
    assert_eq!(read(&replaced), expected(&read(&document(EVERYDAY)), &other));
}

/// Each with the line, and what is wrong there.
#[test]
fn what_kubectl_cannot_read_is_refused_with_its_line() {
    let name = "b".repeat(10);
    let long = format!("users:\n- name: a\n  user: {{certificate: x}}\n- name: {name}\n");
    assert!(Document::parse(long).is_ok());
    // cases.md 1
    let texts = [
        "contexts:\n- name: 123\n",
        "current-context: on\n",
        "kind: Config\n\t\nusers: []\n",
        "{\"current-context\": \"a\\/b\"}",
        "clusters:\n- name: a\n  cluster:\n    certificate-authority-data: aG k=\n",
        "users:\n- name: a\n  user:\n    exec:\n      args: [8000]\n",
        "users: [{name: a}, {name: a}]\n",
        "contexts: [{}, {name: ~}]\n",
        "- a\n",
        "from before",
        "kind: Secret\n",
        "x: y\nusers: {}\n",
        "contexts: [a]\n",
        "a: !!int b\n",
        "a: b\nx: *b\n",
        "x: &a [*a]\n",
        "a: .inf\n",
        "a: b\n  c: d\n",
    ];
    let refused = texts.map(|text| {
        let refused = Document::parse(text.to_owned()).unwrap_err();
        assert!(matches!(refused, Refused::Unreadable(_)), "{text}");
        refused.to_string()
    });
    insta::assert_snapshot!(refused.join("\n"), @"
    line 2: `name` must be a text and is a number to kubectl; write it in quotes
    line 1: `current-context` must be a text and is `true` or `false` to kubectl; write it in quotes
    line 2: it is not YAML: found a tab character that violates indentation
    line 1: it is not YAML: found unknown escape character
    line 4: `certificate-authority-data` must be base64 without spaces and is another text
    line 5: `args` must be a text and is a number to kubectl; write it in quotes
    line 1: `users` has two items that are named `a`
    line 1: `contexts` has two items that are named ``
    line 1: `the kubeconfig` must be a map and is a list
    line 1: `the kubeconfig` must be a map and is another text
    line 1: its `kind` is not `Config`
    line 2: `users` must be a list and is a map
    line 1: `context` must be a map and is another text
    line 1: cannot decode it as a !!int
    line 2: it is not YAML: unknown anchor 'b' referenced
    line 1: it is not YAML: anchor 'a' value contains itself
    line 1: it has a number that is not finite
    line 2: it is not YAML: mapping values are not allowed in this context
    ");
}

#[test]
fn what_kubectl_reads_but_cannot_be_changed_safely_is_refused() {
    let refused = |text: &str| Document::parse(text.to_owned()).unwrap_err();
    for (text, expected) in [
        ("a: b\n---\nc: d\n", Refused::Documents { line: 3 }),
        ("a: b\n--- {\n", Refused::Documents { line: 2 }),
        ("{\"a\": 1} x", Refused::Documents { line: 1 }),
        ("a: b\n<<: {users: []}\n", obstructed(2, Obstacle::MergeKey)),
        ("!!binary dXNlcnM=: [{name: a}]\n", obstructed(1, Obstacle::Tag)),
        ("a: \"x\u{2028}y\"\n", Refused::Characters { line: 1 }),
    ] {
        assert!(Kubeconfig::from_text(text).is_ok(), "{text}");
        assert_eq!(refused(text), expected, "{text}");
    }
}

/// cases.md 1
#[test]
fn what_kubectl_reads_is_merged_into() {
    for text in [
        "contexts: [{context: {cluster: lab, user: k}}]\n",
        "contexts:\n- name: ~\n  context: {cluster: lab}\n- name: b\n",
        "users:\n- name: a\n  user: {token: a, token: b}\n",
        "users:\n- name: a\n  user: {token: !!timestamp 2001-01-02}\nx: !mine y\n",
        "clusters: []\nclusters: [{name: a}]\n",
        "users: [~]\n",
        "kind: Config\n---\n",
        "kind: Config\n...\n---\n# end\n",
        "users:\n- name: a\n  user:\n    <<: {token: t}\n",
    ] {
        let before = document(text);
        let after = merged(before.clone(), &entry("ours")).unwrap();
        assert_eq!(after.current(), Some("ours"), "{text}");
        assert_eq!(after.context("ours"), Some(entry("ours").names()));
        let removed = removed(after, &entry("ours"), "\"\"").unwrap();
        assert_eq!(removed.says(), before.says(), "{text}");
    }
}

/// kubectl reads these.
#[test]
fn own_limits_are_not_called_wrong_yaml() {
    let deep = |levels: usize| format!("a: b\nx: {}{}\n", "[".repeat(levels), "]".repeat(levels));
    assert!(Kubeconfig::from_text(&deep(99)).is_ok());
    for (text, said) in [
        (deep(100), "line 2: it has more than 100 levels"),
        (
            "\u{feff}\u{feff}a: b\n".to_owned(),
            "line 1: it begins with two byte order marks",
        ),
    ] {
        assert_eq!(Kubeconfig::from_text(&text).unwrap_err().to_string(), said);
    }
}

/// cases.md 9
#[test]
fn other_encodings_are_named() {
    let utf16 = "\u{feff}current-context: a\n".encode_utf16();
    let utf16: Vec<u8> = utf16.flat_map(u16::to_le_bytes).collect();
    let read = Kubeconfig::read(&utf16).unwrap();
    assert_eq!(read.current_context, "a", "kubectl reads it");
    let latin1 = Kubeconfig::read(b"a: b\nx: \xe4\n").unwrap_err();
    let expected = "line 2: it has bytes that are not UTF-8; save it as UTF-8";
    assert_eq!(latin1.to_string(), expected);
}

#[test]
fn what_others_refer_to_is_not_changed() {
    for (text, line, obstacle) in [
        ("x: &a []\nusers: *a\n", 2, Obstacle::Alias),
        ("kind: Config\nusers: &a [{name: b}]\nx: *a\n", 2, Obstacle::Anchor),
        ("current-context: &a b\nx: *a\n", 1, Obstacle::Anchor),
        (
            "users:\n- name: &a b\n  user: {}\ncontexts:\n- name: ours\n  context: &c {}\nx: *c\n",
            6,
            Obstacle::Anchor,
        ),
    ] {
        let refused = merged(document(text), &entry("ours")).unwrap_err();
        assert_eq!(refused, obstructed(line, obstacle), "{text}");
    }
    let shared = document("contexts:\n- name: a\n  context: &c {}\n- name: b\n  context: *c\n");
    let refused = shared.without(List::Contexts, "a").unwrap_err();
    assert_eq!(refused, obstructed(3, Obstacle::Anchor));
    assert_eq!(
        refused.to_string(),
        "line 3: it cannot be changed without changing what else it says: there is an anchor (&)"
    );
}

fn obstructed(line: usize, obstacle: Obstacle) -> Refused {
    Refused::Obstructed { line, obstacle }
}

/// kubectl reads and writes all of these.
#[test]
fn rare_ways_to_write_a_kubeconfig_are_changed_and_changed_back() {
    let twice = |key: &str, value: &str| EVERYDAY.replace(&format!("\n{key}:"), &format!("\n{key}:{value}\n{key}:"));
    let last = |key: &str, value: &str| format!("{EVERYDAY}{key}:{value}\n");
    let (head, current) = EVERYDAY.split_once("current-context: kind\n").unwrap();
    let current_last = format!("{head}{current}current-context: kind\n");
    for text in [
        // Lines of blanks behind the last text.
        format!("{EVERYDAY}        \t\n"),
        format!("{current_last}  \t\n"),
        format!("{current_last} \n  \t\n# end\n"),
        // Of two equal keys the last counts.
        twice("clusters", ""),
        twice("clusters", " []"),
        twice("clusters", "\n- name: gone"),
        last("users", ""),
        last("users", " []"),
        last("contexts", "\n- name: kind\n  context: {user: kind, cluster: kind}"),
        last("current-context", " kind"),
        // Carriage returns alone.
        EVERYDAY.replace('\n', "\r"),
        current_last.replace('\n', "\r"),
        EVERYDAY.trim_end().replace('\n', "\r"),
        // The name in base64.
        EVERYDAY.replace("current-context: kind", "current-context: !!binary a2luZA=="),
        EVERYDAY.replace("current-context: kind", "current-context: !!str kind # mine"),
    ] {
        let before = document(&text);
        let current = before.raw_current();
        assert_eq!(before.current(), Some("kind"), "{text:?}");
        let merged = merged(before.clone(), &entry("ours")).unwrap_or_else(|error| panic!("{text:?}: {error}"));
        assert_eq!(
            (merged.current(), merged.context("ours")),
            (Some("ours"), Some(entry("ours").names()))
        );
        assert!(merged.context("kind") == before.context("kind"), "{text:?}");
        let after = removed(merged, &entry("ours"), current.as_deref().unwrap_or("\"\"")).unwrap();
        assert_eq!(after.says(), before.says(), "{:?}", after.text());
        let was_null = text.ends_with("users:\n");
        assert!(was_null || after.text() == text, "{text:?}\n{:?}", after.text());
    }
}

#[test]
fn null_is_nothing() {
    for text in [
        "null",
        "null\n",
        "~\n",
        "# mine\nnull # x\n",
        "--- ~\n",
        "---\nNULL\n...\n",
        "null\r\n",
        "Null\n# end",
    ] {
        let merged = merged(document(text), &entry("ours")).unwrap_or_else(|error| panic!("{text:?}: {error}"));
        assert_eq!(merged.current(), Some("ours"), "{text:?}");
        let comments = |text: &str| text.matches('#').count();
        assert_eq!(comments(merged.text()), comments(text), "{:?}", merged.text());
        let blank = removed(merged, &entry("ours"), "\"\"").unwrap();
        assert!(blank.is_blank(), "{:?}", blank.text());
    }
    for text in ["!!null null\n", "&a null\n"] {
        let refused = merged(document(text), &entry("ours")).unwrap_err();
        assert_eq!(refused, obstructed(1, Obstacle::Tag), "{text}");
    }
}

/// A name without quotes could be a number. A line of blanks is emptied where the name needs them.
#[test]
fn name_is_bare_only_where_it_stays_a_text() {
    let text = |name: &str| {
        let document = document("users: []\ncurrent-context: kind\n  \t\n");
        document
            .with_current(&quoted(name))
            .map(|changed| changed.text().to_owned())
    };
    for name in ["ours", "tka-context-alice@127.0.0.1", "a b"] {
        let expected = format!("users: []\ncurrent-context: {name}\n  \t\n");
        assert_eq!(text(name), Ok(expected));
    }
    for name in ["0x1f", "on", "null", "a: b", "a #b", "- a", "", "!a", "a\tb\n"] {
        let expected = format!("users: []\ncurrent-context: {}\n\n", quoted(name));
        assert_eq!(text(name), Ok(expected), "the line of blanks cannot follow it");
    }
}

#[test]
fn command_with_blank_lines_behind_it_is_mended() {
    let text = "users:\n- name: u\n  user:\n    exec:\n      command: /gone/tka\n        \t\n";
    let mended = document(text).with_exec("u", "command", "/new/tka").unwrap();
    assert_eq!(mended.text(), text.replace("/gone/", "/new/"));
}

#[test]
fn references_are_seen_also_through_merged_keys() {
    let text = "
contexts:
- name: a
  context: {cluster: one, user: two}
- name: b
  context: {<<: {cluster: three}}
";
    assert!(document(text).is_used(List::Clusters, "three"));
    let without = document(text).without(List::Contexts, "b").unwrap();
    let is_used = |list, name| without.is_used(list, name);
    assert!(is_used(List::Clusters, "one") && is_used(List::Users, "two"));
    assert!(!is_used(List::Clusters, "three") && !is_used(List::Users, "one"));
}

#[test]
fn nothing_of_a_user_is_changed_that_others_refer_to() {
    let exec = "{command: /gone/tka, args: [credential]}";
    for text in [
        format!("users: &a [{{name: u, user: {{exec: {exec}}}}}]\nx: *a\n"),
        format!("users:\n- name: u\n  user: &a {{exec: {exec}}}\n- name: v\n  user: *a\n"),
        format!("x: &a {exec}\nusers: [{{name: u, user: {{exec: *a}}}}]\n"),
        "users: [{name: u, user: {exec: {command: &a /gone/tka, x: *a}}}]\n".to_owned(),
        "x: &a /gone/tka\nusers: [{name: u, user: {exec: {command: *a}}}]\n".to_owned(),
    ] {
        let changed = document(&text).with_exec("u", "command", "/new/tka");
        let refused = changed.unwrap_err();
        let is_reference = matches!(
            refused,
            Refused::Obstructed {
                obstacle: Obstacle::Anchor | Obstacle::Alias,
                ..
            }
        );
        assert!(is_reference, "{text}: {refused}");
    }
    let text = format!("users: [{{name: u, user: {{exec: {exec}}}}}]\n");
    let changed = document(&text).with_exec("u", "command", "/new/tka").unwrap();
    assert_eq!(changed.text(), text.replace("/gone/tka", "\"/new/tka\""));
    let same = changed.clone().with_exec("u", "apiVersion", "x").unwrap();
    assert_eq!(same.text(), changed.text(), "what is not said is not added");
}

#[test]
fn debug_shows_no_token() {
    let expected = format!("Document({} bytes)", EVERYDAY.len());
    assert_eq!(format!("{:?}", document(EVERYDAY)), expected);
}

/// A value that is none of our business: what comes behind the colon, and lines below.
#[derive(Clone, Debug)]
struct Odd(String, Vec<String>);

impl Odd {
    /// As the value of `key` at that indentation.
    fn under(&self, key: &str, indent: usize) -> String {
        let pad = " ".repeat(indent);
        let lines: Vec<_> = self
            .1
            .iter()
            .map(|line| {
                if line.is_empty() {
                    String::new()
                } else {
                    format!("{pad}  {line}")
                }
            })
            .collect();
        [vec![format!("{pad}{key}:{}", self.0)], lines].concat().join("\n") + "\n"
    }
}

/// A text that means different things bare and in quotes, and to different readers.
fn word() -> impl Strategy<Value = &'static str> {
    const WORDS: &str = r#"
yes
on
0123
1e3
0x1f
1_000
null
~
kind
a b
2001-01-02
12:30:45
'yes'
"0123"
'it''s'
"\u0041\n"
=
täst
'#'
a#b
!!str 1
!!binary aGk=
"#;
    prop::sample::select(WORDS.trim().lines().collect::<Vec<_>>())
}

fn odd() -> impl Strategy<Value = Odd> {
    let lines = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
    prop_oneof![
        3 => word().prop_map(|word| Odd(format!(" {word}"), vec![])),
        1 => prop::sample::select(vec!["", " # nothing", " {}", " &a {b: c}", " [] # none"]).prop_map(|text| Odd(text.into(), vec![])),
        1 => word().prop_map(|word| Odd(format!(" [{word}, {word},]"), vec![])),
        1 => word().prop_map(|word| Odd(format!(" {{a: {word}, 'b': [], \"c\": {{}}}}"), vec![])),
        1 => word().prop_map(move |word| Odd(" # of it".into(), lines(&[&format!("a: {word}"), "# of b", "b:", &format!("- {word}"), "-", "  - x"]))),
        1 => prop::sample::select(vec!["|", "|-", "|+", ">", ">-", ">+"])
            .prop_map(move |style| Odd(format!(" {style}"), lines(&["text # no comment", "", "- more", "", ""]))),
        1 => Just(Odd(" \"a".into(), lines(&["on\"  # two lines"]))),
    ]
}

/// How people and programs write a list.
#[derive(Clone, Copy, Debug)]
enum Style {
    /// The name first or last, the list at that indentation.
    Lines {
        name_first: bool,
        indent: usize,
    },
    Brackets,
}

fn style() -> impl Strategy<Value = Style> {
    let lines = (any::<bool>(), 0..4_usize);
    prop_oneof![
        4 => lines.prop_map(|(name_first, indent)| Style::Lines { name_first, indent }),
        1 => Just(Style::Brackets),
    ]
}

fn list(list: List) -> impl Strategy<Value = String> {
    let names = prop::sample::subsequence(vec!["kind", "'yes'", "\"0123\"", "a b", "täst", "x@y:z"], 0..4);
    let none = prop::sample::select(vec!["", " []", " null", " ~ # none", " [ ]", " # none"]);
    let quote = prop::sample::select(vec!["", "'", "\""]);
    (names, style(), quote, odd(), none).prop_map(move |(names, style, quote, odd, none)| {
        let key = format!("{quote}{}{quote}", list.key());
        if names.is_empty() {
            return format!("{key}:{none}\n");
        }
        let items: Vec<_> = names.iter().map(|name| item(list, name, style, &odd)).collect();
        match style {
            Style::Lines { .. } => format!("{key}: # all\n# above\n{}\n# below\n", items.concat()),
            Style::Brackets => format!("{key}: [{}\n  ] # all\n", items.join(",\n   ")),
        }
    })
}

fn item(list: List, name: &str, style: Style, odd: &Odd) -> String {
    let field = list.field();
    let Style::Lines { name_first, indent } = style else {
        return format!("{{name: {name}, {field}: {{user: kind, x: [1e3, yes]}}}}");
    };
    let pad = " ".repeat(indent);
    let body = format!("{pad}  {field}:\n{}", odd.under("x", indent + 4));
    let name = format!("name: {name} # a name\n");
    if name_first {
        format!("{pad}- {name}{body}")
    } else {
        format!("{pad}-\n{body}{pad}  # of it\n{pad}  {name}")
    }
}

/// A kubeconfig with what a YAML file may have, and whether all its lists have items and a current context is set.
fn kubeconfigs() -> impl Strategy<Value = String> {
    let current = prop::sample::select(vec![
        "current-context: kind\n",
        "current-context: 'yes' # now\n",
        "current-context: \"\"\n",
        "current-context:\n",
        "",
        "\"current-context\": >-\n  kind\n",
    ]);
    let others = prop::collection::vec(odd(), 0..3).prop_map(|all| {
        let of = |(at, odd): (usize, &Odd)| odd.under(["one", "two", "other"][at], 0);
        all.iter().enumerate().map(of).collect::<Vec<_>>()
    });
    let head = prop::sample::select(vec!["", "---\n", "# mine\n\n", "%YAML 1.1\n---\n", "\u{feff}"]);
    let tail = prop::sample::select(vec!["", "# end\n", "...\n", "\n\n"]);
    let lists = (
        list(List::Clusters),
        list(List::Users),
        list(List::Contexts),
        prop::collection::vec(any::<bool>(), 3),
    );
    let parts = (lists, current, others).prop_map(|((clusters, users, contexts, there), current, others)| {
        let lists = [clusters, users, contexts].into_iter().zip(there);
        let lists = lists.filter_map(|(list, there)| there.then_some(list));
        let fixed = ["apiVersion: v1\n", "kind: \"Config\"\n", current].map(ToOwned::to_owned);
        let parts = lists.chain(fixed).chain(others);
        parts.filter(|part| !part.is_empty()).collect::<Vec<_>>()
    });
    (parts.prop_shuffle(), head, tail, any::<bool>(), any::<bool>()).prop_map(|(parts, head, tail, windows, ends)| {
        let text = format!("{head}{}{tail}", parts.concat());
        let text = if ends { text } else { text.trim_end().to_owned() };
        if windows { text.replace('\n', "\r\n") } else { text }
    })
}

/// The lines that must be there still, or begin one: all but those of what is set anew.
fn kept(text: &str) -> Vec<String> {
    let is_kept = |line: &&str| {
        let is_new = ["clusters", "users", "contexts", "current-context"]
            .iter()
            .any(|key| line.trim_matches(['\'', '"']).starts_with(key));
        !is_new && !line.is_empty() && *line != "  kind"
    };
    let kept = text.trim_start_matches('\u{feff}').lines().filter(is_kept);
    kept.map(ToOwned::to_owned).collect()
}

fn holds_in_order(text: &str, lines: &[String]) -> bool {
    let mut all = text.lines().map(|line| line.trim_start_matches('\u{feff}'));
    lines.iter().all(|line| all.any(|one| one.starts_with(line)))
}

proptest! {
    #[test]
    fn merging_adds_ours_and_loses_nothing(text in kubeconfigs()) {
        let before = document(&text);
        let merged = merged(before.clone(), &entry("ours")).unwrap();
        prop_assert_eq!(read(&merged), expected(&read(&before), &entry("ours")), "{}", merged.text());
        prop_assert!(holds_in_order(merged.text(), &kept(&text)), "{}", merged.text());
    }

    #[test]
    fn signing_out_gives_back_what_was_there(text in kubeconfigs()) {
        let before = document(&text);
        let current = before.raw_current();
        let merged = merged(before.clone(), &entry("ours")).unwrap();
        let after = removed(merged, &entry("ours"), current.as_deref().unwrap_or("\"\"")).unwrap();
        let lists = [List::Clusters, List::Users, List::Contexts];
        let is_full = lists.iter().all(|list| !before.names(*list).is_empty());
        if is_full && current.is_some_and(|current| !current.contains(['>', '"'])) {
            prop_assert_eq!(after.text(), &text);
        } else {
            let mut wanted = read(&before);
            for list in lists {
                if wanted[list.key()].is_null() {
                    wanted[list.key()] = json!([]);
                }
            }
            let mut found = read(&after);
            for value in [&mut wanted, &mut found] {
                let current = value["current-context"].as_str().unwrap_or_default().to_owned();
                value["current-context"] = json!(current);
            }
            prop_assert_eq!(found, wanted, "{}", after.text());
        }
    }

    #[test]
    fn carriage_returns_end_lines_too(text in kubeconfigs()) {
        let text = text.replace("\r\n", "\n").replace('\n', "\r");
        let before = document(&text);
        let current = before.raw_current();
        let merged = merged(before.clone(), &entry("ours")).unwrap();
        prop_assert!(!merged.text().contains('\n') || !text.contains('\r'), "{:?}", merged.text());
        let after = removed(merged, &entry("ours"), current.as_deref().unwrap_or("\"\"")).unwrap();
        prop_assert_eq!(after.says(), before.says(), "{:?}", after.text());
    }

    #[test]
    fn lines_of_blanks_may_end_the_text(text in kubeconfigs(), blanks in "( |\t){1,12}") {
        let text = text.trim_end();
        let alone = document(text);
        // They may follow a text without quotes. In a text over several lines they could be a part of it.
        let with_blanks = Document::parse(format!("{text}\n{blanks}\n"));
        if let Ok(before) = with_blanks && before.says() == alone.says() {
            let current = before.raw_current();
            let merged = merged(before.clone(), &entry("ours")).unwrap();
            let after = removed(merged, &entry("ours"), current.as_deref().unwrap_or("\"\"")).unwrap();
            prop_assert_eq!(after.says(), before.says(), "{:?}", after.text());
        }
    }

    #[test]
    fn mending_changes_the_command_and_nothing_else(
        before in kubeconfigs(),
        odd in prop::collection::vec(odd(), 4),
        command in prop::sample::select(vec!["/gone/tka", "'/gone/tka' # old", "\"/gone/tka\"", "!!str /gone/tka", ">-\n        /gone/tka"]),
        windows: bool,
    ) {
        let text = format!(
            "users:\n- name: other\n  user: {{exec: {{command: /gone/tka}}}}\n- name: ours\n  user:\n{}    exec:\n{}      command: {command}\n{}{}",
            odd[0].under("v", 4), odd[1].under("w", 6), odd[2].under("y", 6), odd[3].under("x", 4),
        );
        let before = before.replace("\r\n", "\n");
        // Its own users are in the way, and a mark belongs before all.
        let is_free = !before.contains("users") && !before.starts_with(['\u{feff}', '%', '-']) && before.ends_with('\n') && !before.contains("...");
        let text = if is_free { before + &text } else { text };
        let text = if windows { text.replace('\n', "\r\n") } else { text };
        let after = document(&text).with_exec("ours", "command", "/new/tka").unwrap();
        let mut wanted = read(&document(&text));
        wanted["users"][1]["user"]["exec"]["command"] = json!("/new/tka");
        prop_assert_eq!(read(&after), wanted, "{}", after.text());
        let lines = |text: &str| text.lines().filter(|line| !line.contains("/gone/tka") && !line.contains("command:")).map(ToOwned::to_owned).collect::<Vec<_>>();
        prop_assert_eq!(lines(after.text()), lines(&text));
    }

    #[test]
    fn anything_is_refused_or_kept(text in "(clusters|users|contexts|name|[-:,\\[\\]{}&*!|>'\"#? ab\n]){0,40}") {
        if let Ok(before) = Document::parse(text) && let Ok(merged) = merged(before.clone(), &entry("ours")) {
            let names = entry("ours").names();
            prop_assert_eq!(merged.context("ours"), Some(names));
            prop_assert_eq!(merged.current(), Some("ours"));
        }
    }

    #[test]
    fn json_stays_json(names in prop::collection::vec("[a-z]{1,3}", 0..3), pretty: bool, empty: bool) {
        let names: std::collections::BTreeSet<_> = names.into_iter().collect();
        let items = |field: &str| names.iter().map(|name| json!({"name": name, field: {"x": "1e3"}})).collect::<Vec<_>>();
        let mut value = json!({"kind": "Config", "clusters": items("cluster"), "users": items("user"), "contexts": items("context")});
        if empty {
            value = json!({});
        }
        let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
        let merged = merged(document(&text), &entry("ours")).unwrap();
        let found: Value = serde_json::from_str(merged.text()).unwrap();
        prop_assert_eq!(found, expected(&value, &entry("ours")));
        let removed = removed(merged, &entry("ours"), "\"\"").unwrap();
        prop_assert!(serde_json::from_str::<Value>(removed.text()).is_ok());
    }
}

/// A kubeconfig by anybody: no panic, and where ours is put in and taken out, all else says what it said.
mod fuzz {
    use super::*;

    #[test]
    fn kubeconfig() {
        bolero::check!().for_each(|bytes: &[u8]| {
            let _ = Kubeconfig::read(bytes);
            let Ok(Ok(before)) = str::from_utf8(bytes).map(|text| Document::parse(text.to_owned())) else {
                return;
            };
            let Ok(merged) = merged(before.clone(), &entry("ours")) else {
                return;
            };
            assert_eq!(Kubeconfig::from_text(merged.text()).as_ref(), Ok(merged.says()));
            assert_eq!(merged.context("ours"), Some(entry("ours").names()));
            let current = before.raw_current();
            let Ok(after) = removed(merged, &entry("ours"), current.as_deref().unwrap_or("\"\"")) else {
                return;
            };
            let had_ours = [List::Clusters, List::Users, List::Contexts]
                .iter()
                .any(|list| before.names(*list).iter().any(|name| name.starts_with("ours")));
            assert!(had_ours || after.says() == before.says(), "{}", after.text());
        });
    }
}
