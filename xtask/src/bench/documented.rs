//! `cargo xtask bench --docs`: what was measured last, put into docs/performance.md.

use std::fs;
use std::io;

use serde::Deserialize;

use super::measurement::Measurement;
use crate::Outcome;

/// From the root of the checkout.
const DOCUMENT: &str = "docs/performance.md";

/// The part of a measurement's JSON that is for the document.
#[derive(Debug, Deserialize)]
struct Measured {
    markdown: String,
    /// An SVG image, which stands beside the document.
    plot: Option<String>,
}

/// Why it cannot be put there.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{what}")]
    Io { what: String, source: io::Error },
    #[error("the figures of {0} cannot be read; measure anew")]
    Figures(&'static str, #[source] serde_json::Error),
    #[error("{DOCUMENT} has no place for {0}: the comments `<!-- bench {0} -->` and `<!-- end of bench {0} -->`")]
    NoPlace(&'static str),
}

/// Puts the figures of every measurement that was made into the document.
pub(super) fn write() -> Outcome {
    let document = crate::root().join(DOCUMENT);
    let cannot = |what: &str| {
        let what = what.to_owned();
        move |source| Error::Io { what, source }
    };
    let mut text = fs::read_to_string(&document).map_err(cannot("docs/performance.md cannot be read"))?;
    for measurement in Measurement::ALL {
        let name = measurement.name();
        let json = match fs::read(measurement.json()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                eprintln!("xtask: {name} was not measured; its figures stay");
                continue;
            }
            json => json.map_err(cannot("the figures cannot be read"))?,
        };
        let measured: Measured = serde_json::from_slice(&json).map_err(|error| Error::Figures(name, error))?;
        text = replaced(&text, name, &measured.markdown).ok_or(Error::NoPlace(name))?;
        if let Some(plot) = measured.plot {
            let image = crate::root().join(format!("docs/performance-{name}.svg"));
            fs::write(image, plot).map_err(cannot("the curves cannot be written"))?;
        }
    }
    fs::write(&document, text).map_err(cannot("docs/performance.md cannot be written"))?;
    Ok(())
}

/// `text` with other figures of that measurement.
fn replaced(text: &str, name: &str, markdown: &str) -> Option<String> {
    let (begin, end) = (
        format!("<!-- bench {name} -->\n"),
        format!("<!-- end of bench {name} -->"),
    );
    let (before, rest) = text.split_once(&begin)?;
    let (_, after) = rest.split_once(&end)?;
    Some(format!("{before}{begin}{}\n{end}{after}", markdown.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_stand_where_they_belong_and_nowhere_else() {
        let text = "a\n<!-- bench one -->\nold\n<!-- end of bench one -->\nb\n";
        let expected = "a\n<!-- bench one -->\nnew\n<!-- end of bench one -->\nb\n";
        assert_eq!(replaced(text, "one", "new\n\n").as_deref(), Some(expected));
        assert_eq!(replaced(expected, "one", "new").as_deref(), Some(expected));
        assert_eq!(replaced(text, "two", "new"), None);
    }

    #[test]
    fn document_has_a_place_for_each_measurement() {
        let text = fs::read_to_string(crate::root().join(DOCUMENT)).unwrap();
        for measurement in Measurement::ALL {
            assert!(
                replaced(&text, measurement.name(), "").is_some(),
                "{}",
                measurement.name()
            );
        }
    }
}
