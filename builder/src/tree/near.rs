//! Suggestions for names that were not found.

/// How many names are suggested.
const SUGGESTIONS: usize = 3;
/// The minimum similarity (Jaro-Winkler, 0 to 1) of a suggestion.
const SIMILAR: f64 = 0.75;
/// The maximum distance from the best score: sibling names share their ending, so all of them score high.
const MARGIN: f64 = 0.1;

/// Suggests the `candidates` that may have been meant, or returns `otherwise` if there are none.
pub fn suggest<'a>(wanted: &str, candidates: impl IntoIterator<Item = &'a str>, otherwise: &str) -> String {
    let mut scored: Vec<(f64, &str)> = candidates
        .into_iter()
        .map(|name| (similarity(wanted, name), name))
        .filter(|(score, _)| *score >= SIMILAR)
        .collect();
    scored.sort_by(|(left, left_name), (right, right_name)| {
        right.total_cmp(left).then_with(|| left_name.cmp(right_name))
    });
    scored.dedup_by(|(_, left), (_, right)| left == right);
    let best = scored.first().map_or(0.0, |(score, _)| *score);
    scored.retain(|(score, _)| best - score <= MARGIN);
    let names: Vec<String> = scored.iter().take(SUGGESTIONS).map(|(_, name)| format!("\"{name}\"")).collect();
    match names.split_last() {
        None => otherwise.to_owned(),
        Some((only, [])) => format!("did you mean {only}?"),
        Some((last, others)) => format!("did you mean {} or {last}?", others.join(", ")),
    }
}

/// The better score of the whole path and of the last component, because a file is often looked for in the
/// wrong folder.
fn similarity(wanted: &str, name: &str) -> f64 {
    let last = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    strsim::jaro_winkler(wanted, name).max(0.99 * strsim::jaro_winkler(&last(wanted), &last(name)))
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
