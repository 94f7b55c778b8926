//! Suggestions for paths and units that were not found.

use contract::suggest::similar;

const SUGGESTIONS: usize = 3;
const SIMILAR: f64 = 0.75;
/// The largest distance from the best suggestion: names of one kind share their ending, which makes all of them similar.
const MARGIN: f64 = 0.1;

/// Says which of `candidates` may have been meant; without any, says `otherwise`.
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
