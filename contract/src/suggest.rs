//! Guesses the intended name of a mistyped word, for both programs.

use strsim::{damerau_levenshtein, jaro_winkler};

/// More edits than this are not a typo.
const MAX_EDITS: usize = 3;

/// The word of `known` that is nearest to `word`, if it is near enough to be a typo. Case is ignored.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = MAX_EDITS.min(word.chars().count() / 2);
    let lower = word.to_lowercase();
    known
        .into_iter()
        .map(|candidate| (damerau_levenshtein(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(edits, _)| *edits <= allowed)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// `; did you mean "X"?`, or nothing.
pub fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, known)
        .map(|meant| format!("; did you mean \"{meant}\"?"))
        .unwrap_or_default()
}

/// The words of `known` whose similarity to `word` (Jaro-Winkler, 0 to 1) is `least` or more, the most
/// similar first.
///
/// For names that share long parts (paths, packages, files of a release): there edits say little. The better
/// of whole paths and of last components counts, because a file is often looked for in the wrong folder.
pub fn similar<'a>(word: &str, known: impl IntoIterator<Item = &'a str>, least: f64) -> Vec<(f64, &'a str)> {
    let last = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    let end = last(word);
    let similarity = |name: &str| jaro_winkler(word, name).max(0.99 * jaro_winkler(&end, &last(name)));
    let mut scored: Vec<(f64, &str)> = known
        .into_iter()
        .map(|name| (similarity(name), name))
        .filter(|(score, _)| *score >= least)
        .collect();
    scored.sort_by(|(left, left_name), (right, right_name)| {
        right.total_cmp(left).then_with(|| left_name.cmp(right_name))
    });
    scored.dedup_by(|(_, left), (_, right)| left == right);
    scored
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_similar_path_comes_first() {
        let known = ["usr/bin/crictl", "etc/passwd", "usr/bin/runc", "usr/bin/runc"];
        assert_eq!(similar("usr/sbin/runc", known, 0.75)[0].1, "usr/bin/runc");
        assert!(similar("zzzz", known, 0.75).is_empty());
    }

    #[test]
    fn finds_typos_and_nothing_else() {
        let known = ["endpoints", "deadline", "waitFor"];
        assert_eq!(nearest("waitfor", known), Some("waitFor"));
        assert_eq!(nearest("endpiont", known), Some("endpoints"));
        assert_eq!(nearest("timeouts", known), None);
        assert_eq!(nearest("endpoint", known), Some("endpoints"));
        assert_eq!(nearest("dedline", known), Some("deadline"));
        assert_eq!(nearest("x", known), None);
    }
}
