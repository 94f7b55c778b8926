//! Guesses the intended name of a mistyped word, for both programs.

use strsim::damerau_levenshtein;

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

#[cfg(test)]
mod tests {
    use super::*;

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
