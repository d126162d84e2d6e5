//! Every error that people see has its section in the troubleshooting, which quotes the error's own words: the words are what people search for.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

use syn::{Attribute, Expr, Item, Lit, Meta};

use crate::book::anchor;

/// Why the troubleshooting is not current.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Errors have no section, or one that does not quote them.
    #[error("{PAGE} lacks errors of the code:\n{}", .0.join("\n"))]
    Missing(Vec<String>),
    /// It names errors that are no more.
    #[error("{PAGE} has sections of errors that the code does not have: {}", .0.join(", "))]
    Gone(Vec<String>),
    /// There is no such enum.
    #[error("{file} has no enum {name}: change the list in xtask/src/troubleshooting.rs")]
    NoEnum { file: &'static str, name: &'static str },
    /// It, or code, cannot be read.
    #[error("{} cannot be read", path.display())]
    Io { path: PathBuf, source: io::Error },
    /// Code is no Rust.
    #[error("{file} cannot be parsed")]
    Parse { file: &'static str, source: syn::Error },
}

const PAGE: &str = "docs/book/src/troubleshooting.md";

/// The enums, each with the name that the page calls it by.
const ENUMS: [(&str, &str, &str); 32] = [
    ("refusal", "crates/tka-core/src/refusal.rs", "Refusal"),
    ("recording", "crates/tka-gateway/src/recordable.rs", "Unrecordable"),
    ("operator", "crates/tka-operator/src/error.rs", "Error"),
    ("tka", "crates/tka-cli/src/error.rs", "Error"),
    ("client", "crates/tka-cli/src/api/client/error.rs", "ClientErrorKind"),
    ("select", "crates/tka-cli/src/discovery/select.rs", "SelectError"),
    ("settings", "crates/tka-cli/src/config/error.rs", "ConfigError"),
    ("address", "crates/tka-cli/src/net/server.rs", "InvalidServer"),
    ("node", "crates/tka-cli/src/net/tailscale.rs", "TailscaleError"),
    ("own", "crates/tka-cli/src/kubeconfig/store.rs", "StoreError"),
    ("merge", "crates/tka-cli/src/kubeconfig/merge.rs", "MergeError"),
    (
        "variable",
        "crates/tka-cli/src/kubeconfig/env_variable.rs",
        "UnexportablePath",
    ),
    ("file", "crates/tka-cli/src/sys/files/locked.rs", "FileError"),
    ("listen", "crates/tka-server/src/listen.rs", "ListenError"),
    (
        "certificate",
        "crates/tka-server/src/certificate.rs",
        "CertificateError",
    ),
    ("cluster", "crates/tka-server/src/cluster.rs", "ClusterError"),
    ("tailnet", "crates/tka-tailnet/src/error.rs", "Error"),
    ("config", "crates/tka-server/src/config/problem.rs", "ConfigError"),
    ("run", "crates/tka-server/src/run.rs", "RunError"),
    ("telemetry", "crates/tka-server/src/telemetry.rs", "TelemetryError"),
    ("audit", "crates/tka-server/src/audit/writer.rs", "AuditError"),
    (
        "notification",
        "crates/tka-server/src/notifications/post.rs",
        "PostError",
    ),
    ("gateway", "crates/tka-server/src/gateway/shared.rs", "GatewayError"),
    (
        "recordings",
        "crates/tka-server/src/config/recordings.rs",
        "RecordingsError",
    ),
    (
        "identity",
        "crates/tka-cli/src/recordings/identities.rs",
        "IdentityError",
    ),
    ("record", "crates/tka-recording/src/recorder/types.rs", "RecordError"),
    ("sink", "crates/tka-recording/src/sink.rs", "SinkError"),
    ("store", "crates/tka-recording/src/sink/s3.rs", "StoreError"),
    ("read", "crates/tka-cli/src/recordings.rs", "RecordingError"),
    ("policy", "crates/tka-cli/src/policy.rs", "PolicyError"),
    ("target", "crates/tka-gateway/src/target.rs", "TargetError"),
    ("header", "crates/tka-gateway/src/headers.rs", "HeaderError"),
];
/// How long a part that is always the same must be to lead to a section: `cannot write` is in too many messages.
const SHORTEST: usize = 16;
/// What the chart refuses, and what the page calls all of it.
const CHART: (&str, &str) = ("chart/refused", "charts/tka/templates/_refusals.tpl");

/// An error: what the page calls it, and the longest part of its words that is always the same.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Known {
    key: String,
    words: Option<String>,
}

/// Checks that each error below `root` has its section.
pub(crate) fn check(root: &Path) -> Result<(), Error> {
    let page = read(&root.join(PAGE))?;
    let mut known = Vec::new();
    for (prefix, file, name) in ENUMS {
        let code = read(&root.join(file))?;
        let parsed = syn::parse_file(&code).map_err(|source| Error::Parse { file, source })?;
        let found = errors(&parsed, prefix, name).ok_or(Error::NoEnum { file, name })?;
        known.extend(found);
    }
    let (key, template) = CHART;
    known.extend(refusals(&read(&root.join(template))?, key));
    compare(&page, &known)
}

/// What the page quotes, the longest first. A line has the anchor of the section, and the parts of the message that are always the same, with tabs between.
pub(crate) fn table(root: &Path) -> Result<String, Error> {
    Ok(rows(&read(&root.join(PAGE))?))
}

fn rows(page: &str) -> String {
    // What two sections quote leads to neither.
    let mut anchors = BTreeMap::<Vec<String>, BTreeSet<String>>::new();
    for part in page.split("\n### ").skip(1).filter(|part| !is_of_chart(part)) {
        let (heading, below) = part.split_once('\n').unwrap_or((part, ""));
        for line in quoted(below) {
            anchors.entry(constant_parts(line)).or_default().insert(anchor(heading));
        }
    }
    let length = |parts: &[String]| parts.iter().map(String::len).sum::<usize>();
    let mut rows: Vec<_> = anchors
        .into_iter()
        .filter(|(parts, anchors)| parts.iter().any(|part| part.len() >= SHORTEST) && anchors.len() == 1)
        .collect();
    // Those of the same length stay in their order.
    rows.sort_by_key(|(parts, _)| std::cmp::Reverse(length(parts)));
    let row = |(parts, anchors): (Vec<String>, BTreeSet<String>)| {
        let fields: Vec<_> = anchors.into_iter().chain(parts).collect();
        fields.join("\t") + "\n"
    };
    rows.into_iter().map(row).collect()
}

/// Whether a section is about what helm says, and no program of ours.
fn is_of_chart(part: &str) -> bool {
    section(part).is_some_and(|(keys, _)| keys == [CHART.0])
}

/// The lines of the blocks of text below a heading.
fn quoted(below: &str) -> impl Iterator<Item = &str> {
    let blocks = below.split("```text\n").skip(1);
    blocks.flat_map(|block| block.split("```").next().unwrap_or_default().lines())
}

/// What of a quoted message is always the same. What differs stands in capitals, or is an example: a number, an address.
fn constant_parts(line: &str) -> Vec<String> {
    let mut parts = vec![Vec::new()];
    for word in line.split_whitespace() {
        if differs(word) {
            parts.push(Vec::new());
        } else if let Some(part) = parts.last_mut() {
            part.push(word);
        }
    }
    let parts = parts.into_iter().filter(|part| !part.is_empty());
    parts.map(|part| part.join(" ")).collect()
}

fn differs(word: &str) -> bool {
    let bare = word.trim_matches(|c: char| !c.is_alphanumeric());
    let is_capital = !bare.is_empty() && bare.chars().all(|c| c.is_ascii_uppercase() || matches!(c, '_' | ':'));
    is_capital
        || word.contains("://")
        || word.contains("example.ts.net")
        || bare.starts_with(|c: char| c.is_ascii_digit())
}

fn read(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|source| Error::Io {
        path: path.to_owned(),
        source,
    })
}

fn compare(page: &str, known: &[Known]) -> Result<(), Error> {
    let sections = sections(page);
    let mut missing = Vec::new();
    for error in known {
        let of = sections.iter().filter(|(keys, _)| keys.contains(&error.key.as_str()));
        let texts: Vec<_> = of.map(|(_, text)| text).collect();
        match (texts.as_slice(), &error.words) {
            ([], _) => missing.push(format!(
                "{}: no section has `<!-- {} -->` below its heading",
                error.key, error.key
            )),
            (texts, Some(words)) if !texts.iter().any(|text| text.contains(words.as_str())) => {
                missing.push(format!("{}: its section does not quote `{words}`", error.key));
            }
            _ => {}
        }
    }
    if !missing.is_empty() {
        return Err(Error::Missing(missing));
    }
    let keys = sections.iter().flat_map(|(keys, _)| keys);
    let gone: Vec<_> = keys
        .filter(|key| !known.iter().any(|error| error.key == **key))
        .map(|key| (*key).to_owned())
        .collect();
    if gone.is_empty() {
        Ok(())
    } else {
        Err(Error::Gone(gone))
    }
}

/// The sections, each with the errors that the comment below its heading names, and with its text on one line.
fn sections(page: &str) -> Vec<(Vec<&str>, String)> {
    page.split("\n### ").skip(1).filter_map(section).collect()
}

fn section(part: &str) -> Option<(Vec<&str>, String)> {
    let (_, rest) = part.split_once("<!-- ")?;
    let (keys, _) = rest.split_once(" -->")?;
    let text = part.split_whitespace().collect::<Vec<_>>().join(" ");
    Some((keys.split(' ').collect(), text))
}

/// The errors of the enum `name`: none if there is none.
fn errors(file: &syn::File, prefix: &str, name: &str) -> Option<Vec<Known>> {
    let found = file.items.iter().find_map(|item| match item {
        Item::Enum(found) if found.ident == name => Some(found),
        _ => None,
    })?;
    let variants = found.variants.iter().filter(|variant| !is_transparent(&variant.attrs));
    let known = variants.map(|variant| Known {
        key: format!("{prefix}/{}", kebab(&variant.ident.to_string())),
        words: variant.attrs.iter().find_map(message).as_deref().and_then(longest_part),
    });
    Some(known.collect())
}

/// The messages that a template adds to what is wrong.
fn refusals(template: &str, key: &str) -> Vec<Known> {
    let added = template.split("append $wrong ").skip(1);
    let texts = added.filter_map(|added| added.split('"').nth(1));
    let known = texts.map(|text| Known {
        key: key.to_owned(),
        // Where something is put in, the template has a verb of Go's.
        words: longest_part(&text.replace("%s", "{}").replace("%d", "{}")),
    });
    known.collect()
}

/// Whether another error speaks for it.
fn is_transparent(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::List(list) => list.path.is_ident("error") && list.tokens.to_string() == "transparent",
        _ => false,
    })
}

/// The text of `#[error("…")]`.
fn message(attribute: &Attribute) -> Option<String> {
    let Meta::List(list) = &attribute.meta else { return None };
    if !list.path.is_ident("error") {
        return None;
    }
    let parser = syn::punctuated::Punctuated::<Expr, syn::Token![,]>::parse_terminated;
    let first = syn::parse::Parser::parse2(parser, list.tokens.clone());
    let text = match first.ok().and_then(|all| all.into_iter().next()) {
        Some(Expr::Lit(literal)) => match literal.lit {
            Lit::Str(text) => Some(text.value()),
            _ => None,
        },
        _ => None,
    };
    // The arguments after it may be none that parse as expressions, as `.0`.
    text.or_else(|| {
        list.tokens.clone().into_iter().find_map(|token| {
            syn::parse_str::<syn::LitStr>(&token.to_string())
                .ok()
                .map(|text| text.value())
        })
    })
}

/// What is the same in each of its messages: the longest text between placeholders, if it says something.
fn longest_part(message: &str) -> Option<String> {
    let parts = message
        .split('{')
        .map(|part| part.split_once('}').map_or(part, |(_, after)| after));
    let words = |part: &str| part.split_whitespace().collect::<Vec<_>>().join(" ");
    let part = parts.map(words).max_by_key(String::len)?;
    let part = part.trim_matches([':', ';', ',', '"', '(', ')', ' ']).to_owned();
    (part.split(' ').count() > 1).then_some(part)
}

fn kebab(name: &str) -> String {
    let mut kebab = String::new();
    for (index, c) in name.char_indices() {
        if c.is_uppercase() && index > 0 {
            kebab.push('-');
        }
        kebab.extend(c.to_lowercase());
    }
    kebab
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root;

    #[test]
    fn every_error_has_its_section() {
        check(&root()).unwrap();
    }

    #[test]
    fn errors_are_read_from_the_code() {
        let code = r#"enum E { #[error("no rule of {0} reaches {}", .0.join(", "))] NoRule(String), #[error(transparent)] Other(X), Bare }"#;
        let found = errors(&syn::parse_file(code).unwrap(), "refusal", "E").unwrap();
        let known = |key: &str, words: Option<&str>| Known {
            key: key.to_owned(),
            words: words.map(ToOwned::to_owned),
        };
        assert_eq!(
            found,
            [
                known("refusal/no-rule", Some("no rule of")),
                known("refusal/bare", None)
            ]
        );
        assert!(errors(&syn::parse_file(code).unwrap(), "refusal", "F").is_none());
    }

    #[test]
    fn refusals_are_read_from_the_chart() {
        let template = r#"{{- $wrong = append $wrong "roles are empty" -}}{{ $wrong = append $wrong (printf "%s needs tags: %d" . 2) }}"#;
        let words: Vec<_> = refusals(template, "k")
            .into_iter()
            .map(|known| known.words.unwrap())
            .collect();
        assert_eq!(words, ["roles are empty", "needs tags"]);
    }

    #[test]
    fn quoted_messages_lead_to_their_sections_the_longest_first() {
        let block = |text: &str| format!("```text\n{text}\n```\n");
        let page = [
            "# T\n\n### Not `there` …\n\n",
            &block("there is no server at https://a.example.ts.net within 30 s\nthe name NAME: not found"),
            "\n### Again\n\n",
            &block("the name NAME: not found\ncannot write PATH\nyou may not: ROLE is more than the rule gives"),
        ];
        let expected =
            "again\tyou may not:\tis more than the rule gives\nnot-there-\tthere is no server at\twithin\ts\n";
        assert_eq!(rows(&page.concat()), expected);
    }

    #[test]
    fn what_is_missing_and_what_is_gone_is_said() {
        let known = |words: &str| Known {
            key: "a/b".to_owned(),
            words: Some(words.to_owned()),
        };
        let page = "# T\n\n### B\n\n<!-- a/b -->\n\n> it is\n> wrong\n";
        compare(page, &[known("it > is")]).unwrap_err();
        compare(&page.replace("> ", ""), &[known("it is wrong")]).unwrap();
        let missing = compare("# T\n", &[known("x y")]).unwrap_err().to_string();
        assert!(missing.contains("a/b: no section"), "{missing}");
        let unquoted = compare(page, &[known("another thing")]).unwrap_err().to_string();
        assert!(unquoted.contains("does not quote `another thing`"), "{unquoted}");
        let gone = compare(page, &[]).unwrap_err().to_string();
        assert!(gone.ends_with(": a/b"), "{gone}");
    }
}
