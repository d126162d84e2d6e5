//! Results for other programs: [SARIF 2.1.0](https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html) for code scanning, and XML as `JUnit` writes it
//! for what shows tests.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::expect::Outcome;
use crate::finding::{Finding, Findings, Kind, Level};
use crate::source::Position;

/// Where the findings are explained.
const HELP: &str = "https://github.com/SpechtLabs/tka/blob/main/docs/book/src/how-to/policy-checks.md";
/// The name of what fails in SARIF when an expectation is not met.
const EXPECTATION: &str = "expectation";

/// The findings of the file `name` in SARIF.
#[must_use]
pub fn sarif(name: &str, findings: &Findings, version: &str) -> Value {
    let rules = Kind::ALL.map(|kind| rule(kind.id(), kind.meaning()));
    let results = findings.items.iter().map(|finding| {
        let level = finding.level.to_string();
        result(finding.kind.id(), &level, &finding.message, name, finding.position)
    });
    log(&rules, &results.collect::<Vec<_>>(), version)
}

/// Expectations of the file `name` that are not met, in SARIF.
#[must_use]
pub fn sarif_of_tests(name: &str, outcomes: &[Outcome], version: &str) -> Value {
    let results = outcomes.iter().flat_map(|outcome| {
        outcome.failures.iter().map(|failure| {
            let message = format!("{}: {failure}", outcome.name);
            result(EXPECTATION, "error", &message, name, outcome.position)
        })
    });
    let rules = [rule(EXPECTATION, "The policy does not give what is expected of it.")];
    log(&rules, &results.collect::<Vec<_>>(), version)
}

fn rule(id: &str, meaning: &str) -> Value {
    json!({ "id": id, "shortDescription": { "text": meaning }, "helpUri": HELP })
}

fn result(id: &str, level: &str, message: &str, name: &str, position: Position) -> Value {
    json!({
        "ruleId": id,
        "level": level,
        "message": { "text": message },
        "locations": [{ "physicalLocation": {
            "artifactLocation": { "uri": uri(name) },
            "region": { "startLine": position.line, "startColumn": position.column },
        } }],
    })
}

fn log(rules: &[Value], results: &[Value], version: &str) -> Value {
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": { "name": "tka policy", "version": version, "informationUri": HELP, "rules": rules } },
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

/// A path as a URI reference (RFC 3986): what is no path of it is escaped.
fn uri(name: &str) -> String {
    let mut uri = String::new();
    for byte in name.replace('\\', "/").bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            let _ = write!(uri, "%{byte:02X}");
        }
    }
    uri
}

/// A test in XML.
struct Case {
    name: String,
    failures: Vec<String>,
    /// What is told of a test that passes.
    note: Option<String>,
}

/// The findings of the file `name` as XML of `JUnit`: a test for each, and one that passes where there are none.
#[must_use]
pub fn junit(name: &str, findings: &Findings) -> String {
    let mut cases: Vec<Case> = findings.items.iter().map(|finding| case(name, finding)).collect();
    if findings.left_out > 0 {
        let more = format!("{} findings more", findings.left_out);
        cases.push(Case {
            name: more.clone(),
            failures: vec![more],
            note: None,
        });
    }
    if cases.is_empty() {
        cases.push(Case {
            name: name.to_owned(),
            failures: Vec::new(),
            note: None,
        });
    }
    suite("tka policy check", name, &cases)
}

fn case(name: &str, finding: &Finding) -> Case {
    let Position { line, column } = finding.position;
    let name = format!("{name}:{line}:{column} {}", finding.kind.id());
    let message = finding.message.clone();
    // A warning is told, and no failure.
    let (failures, note) = match finding.level {
        Level::Error => (vec![message], None),
        Level::Warning => (Vec::new(), Some(message)),
    };
    Case { name, failures, note }
}

/// How tests came out, as XML of `JUnit`.
#[must_use]
pub fn junit_of_tests(name: &str, outcomes: &[Outcome]) -> String {
    let case = |outcome: &Outcome| Case {
        name: outcome.name.clone(),
        failures: outcome.failures.clone(),
        note: None,
    };
    suite("tka policy test", name, &outcomes.iter().map(case).collect::<Vec<_>>())
}

fn suite(suite: &str, file: &str, cases: &[Case]) -> String {
    let failed = cases.iter().filter(|case| !case.failures.is_empty()).count();
    let (suite, file, tests) = (xml(suite), xml(file), cases.len());
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites tests=\"{tests}\" failures=\"{failed}\">\n  \
         <testsuite name=\"{suite}\" file=\"{file}\" tests=\"{tests}\" failures=\"{failed}\">\n"
    );
    for case in cases {
        let name = xml(&case.name);
        let inner = match (&case.note, case.failures.is_empty()) {
            (_, false) => format!("<failure message=\"{}\"/>", xml(&case.failures.join("; "))),
            (Some(note), true) => format!("<system-out>{}</system-out>", xml(note)),
            (None, true) => String::new(),
        };
        let _ = if inner.is_empty() {
            writeln!(text, "    <testcase classname=\"{suite}\" name=\"{name}\"/>")
        } else {
            writeln!(
                text,
                "    <testcase classname=\"{suite}\" name=\"{name}\">\n      {inner}\n    </testcase>"
            )
        };
    }
    text + "  </testsuite>\n</testsuites>\n"
}

/// A text inside an attribute or an element of XML 1.0. Characters that XML does not have are replaced.
fn xml(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' => escaped.push_str("&#10;"),
            '\t' => escaped.push_str("&#9;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn outcomes() -> Vec<Outcome> {
        let outcome = |name: &str, line, failures: &[&str]| Outcome {
            name: name.into(),
            position: Position { line, column: 3 },
            failures: failures.iter().map(ToString::to_string).collect(),
        };
        vec![
            outcome("alice", 2, &[]),
            outcome("a <b> & \"c\"", 7, &["may not have view", "two\u{1}"]),
        ]
    }

    #[test]
    fn tests_as_junit() {
        insta::assert_snapshot!(junit_of_tests("dir/policy.tka.yaml", &outcomes()), @r#"
        <?xml version="1.0" encoding="UTF-8"?>
        <testsuites tests="2" failures="1">
          <testsuite name="tka policy test" file="dir/policy.tka.yaml" tests="2" failures="1">
            <testcase classname="tka policy test" name="alice"/>
            <testcase classname="tka policy test" name="a &lt;b&gt; &amp; &quot;c&quot;">
              <failure message="may not have view; two�"/>
            </testcase>
          </testsuite>
        </testsuites>
        "#);
    }

    #[test]
    fn tests_as_sarif() {
        let sarif = sarif_of_tests("a dir/policy.tka.yaml", &outcomes(), "1.0.0");
        let results = sarif["runs"][0]["results"].as_array().unwrap();
        assert_eq!(results.len(), 2);
        let place = &results[0]["locations"][0]["physicalLocation"];
        assert_eq!(place["artifactLocation"]["uri"], "a%20dir/policy.tka.yaml");
        assert_eq!(place["region"], json!({ "startLine": 7, "startColumn": 3 }));
        assert_eq!(
            results[0]["ruleId"],
            sarif["runs"][0]["tool"]["driver"]["rules"][0]["id"]
        );
    }

    #[test]
    fn no_finding_is_a_test_that_passes() {
        let text = junit("policy.hujson", &Findings::default());
        assert!(text.contains("tests=\"1\" failures=\"0\""), "{text}");
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_xml(text in ".*") {
            let escaped = xml(&text);
            let breaks = escaped.contains(['<', '>', '"', '\n', '\u{0}', '\u{1b}']);
            prop_assert!(!breaks);
        }
    }
}
