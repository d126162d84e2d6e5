//! Which key was meant by one that is not known.

use strsim::normalized_damerau_levenshtein as similarity;

use super::keys::keys;

/// From how alike two names must be, of 1.
const ALIKE: f64 = 0.6;
/// How alike a key is that has the same last word, in another section.
const ELSEWHERE: f64 = 0.75;
/// How much less than the best another may be to be named as well.
const AS_GOOD: f64 = 0.01;
/// How many are named.
const MOST: usize = 3;

/// The keys that `unknown` is most like, if any is like it.
pub(super) fn nearest(unknown: &str) -> Vec<&'static str> {
    let unknown = unknown.to_ascii_lowercase();
    let scored = keys()
        .names()
        .map(|name| (score(&unknown, &name.to_ascii_lowercase()), name));
    let mut alike: Vec<_> = scored.filter(|(score, _)| *score >= ALIKE).collect();
    alike.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    let best = alike.first().map_or(0.0, |(score, _)| *score);
    let named = alike.into_iter().filter(|(score, _)| best - score < AS_GOOD);
    named.map(|(_, name)| name).take(MOST).collect()
}

/// How alike two keys are. In one section their last words count, else the whole keys. The same last word in another section
/// counts as [`ELSEWHERE`] at least.
fn score(unknown: &str, known: &str) -> f64 {
    let (section, word) = split(unknown);
    let (known_section, known_word) = split(known);
    if section == known_section {
        return similarity(word, known_word);
    }
    let elsewhere = if word == known_word { ELSEWHERE } else { 0.0 };
    similarity(unknown, known).max(elsewhere)
}

fn split(name: &str) -> (&str, &str) {
    name.rsplit_once('.').unwrap_or(("", name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelt_and_misplaced_keys_are_found() {
        for (unknown, meant) in [
            ("tailscale.prot", &["tailscale.port"][..]),
            ("tailscael", &["tailscale"]),
            ("operator.machine", &["operator.machines"]),
            ("operator.max_sessions_per_device", &["operator.maxSessionsPerDevice"]),
            ("server.ratelimits.burst", &["server.rateLimit.burst"]),
            (
                "server.burst",
                &[
                    "gateway.rateLimit.burst",
                    "server.approvalRateLimit.burst",
                    "server.rateLimit.burst",
                ],
            ),
            ("operator.capName", &["tailscale.capName"]),
            ("port", &["health.port", "tailscale.port"]),
            ("clusterInfo.label", &["clusterInfo.labels"]),
            ("xyzzy", &[]),
            ("", &[]),
        ] {
            let mut found = nearest(unknown);
            found.sort_unstable();
            assert_eq!(found, meant, "{unknown}");
        }
    }
}
