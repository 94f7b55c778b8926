//! Suggestions for paths and units that were not found.

use contract::suggest::similar;

const SUGGESTIONS: usize = 3;
/// The minimum similarity (Jaro-Winkler, 0 to 1) of a suggestion.
const SIMILAR: f64 = 0.75;
/// The maximum distance from the best score: sibling names share their ending, so all of them score high.
const MARGIN: f64 = 0.1;

/// Suggests the `candidates` that may have been meant, or returns `otherwise` if there are none.
pub fn suggest<'a>(wanted: &str, candidates: impl IntoIterator<Item = &'a str>, otherwise: &str) -> String {
    let scored = similar(wanted, candidates, SIMILAR);
    let best = scored.first().map_or(0.0, |(score, _)| *score);
    let near = scored.iter().filter(|(score, _)| best - score <= MARGIN).take(SUGGESTIONS);
    let names: Vec<String> = near.map(|(_, name)| format!("\"{name}\"")).collect();
    match names.split_last() {
        None => otherwise.to_owned(),
        Some((only, [])) => format!("did you mean {only}?"),
        Some((last, others)) => format!("did you mean {} or {last}?", others.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_names_come_first() {
        let names = ["usr/bin/runc", "usr/bin/crictl", "etc/passwd"];
        assert!(suggest("usr/sbin/runc", names, "none").starts_with("did you mean \"usr/bin/runc\""));
        assert_eq!(suggest("zzzz", names, "none"), "none");
    }
}
