//! What somebody most likely meant.

/// Changes that a slip of the finger makes at most, for words of some length.
const SLIPS: usize = 3;

/// The word of `known` that is nearest to `word`, if one is near enough to be meant.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = SLIPS.min(word.chars().count() / 2);
    let distances = known
        .into_iter()
        .map(|candidate| (distance(&word.to_lowercase(), &candidate.to_lowercase()), candidate));
    distances
        .filter(|(changes, _)| *changes <= allowed)
        .min_by_key(|(changes, _)| *changes)
        .map(|(_, candidate)| candidate)
}

/// `; did you mean "X"?`, or nothing.
pub fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, known)
        .map(|meant| format!("; did you mean \"{meant}\"?"))
        .unwrap_or_default()
}

/// Characters to insert, drop or replace to make one word of the other (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (line, character) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for column in 0..other.len() {
            let replaced = diagonal + usize::from(character != other[column]);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(row[column] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_slips_and_no_more() {
        let known = ["endpoints", "deadline", "waitFor"];
        assert_eq!(nearest("waitfor", known), Some("waitFor"));
        assert_eq!(nearest("endpiont", known), Some("endpoints"));
        assert_eq!(nearest("timeouts", known), None);
        assert_eq!(nearest("endpoint", known), Some("endpoints"));
        assert_eq!(nearest("dedline", known), Some("deadline"));
        assert_eq!(nearest("x", known), None);
        assert_eq!((distance("", "abc"), distance("kitten", "sitting"), distance("a", "a")), (3, 3, 0));
    }
}
