//! The part of a file that a request asks for: one range of bytes (RFC 9110, 14). A server may answer any
//! other request for ranges with the whole.

use std::ops::Range;

/// What to answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Everything.
    Whole,
    /// These bytes.
    Range(Range<u64>),
    /// There is no such part.
    Outside,
}

/// The part of a file of `length` bytes that the header `range` names.
pub(super) fn part(range: Option<&str>, length: u64) -> Part {
    let Some((first, last)) = range
        .and_then(|range| range.strip_prefix("bytes="))
        .filter(|range| !range.contains(','))
        .and_then(|range| range.split_once('-'))
    else {
        return Part::Whole;
    };
    let range = match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => first..last.saturating_add(1).min(length),
        (Some(first), None) if last.is_empty() => first..length,
        (None, Some(count)) if first.is_empty() => length - count.min(length)..length,
        _ => return Part::Whole,
    };
    if range.is_empty() { Part::Outside } else { Part::Range(range) }
}

fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_range_is_understood_and_nonsense_is_the_whole() {
        for (range, expected) in [
            (None, Part::Whole),
            (Some("bytes=0-3"), Part::Range(0..4)),
            (Some("bytes=6-"), Part::Range(6..10)),
            (Some("bytes=6-100"), Part::Range(6..10)),
            (Some("bytes=-3"), Part::Range(7..10)),
            (Some("bytes=-30"), Part::Range(0..10)),
            (Some("bytes=9-9"), Part::Range(9..10)),
            (Some("bytes=10-"), Part::Outside),
            (Some("bytes=99999999999999999999999-"), Part::Outside),
            (Some("bytes=0-99999999999999999999999"), Part::Range(0..10)),
            (Some("bytes=-0"), Part::Outside),
            (Some("bytes=5-2"), Part::Whole),
            (Some("bytes=0-1,3-4"), Part::Whole),
            (Some("bytes=+1-2"), Part::Whole),
            (Some("bytes=a-b"), Part::Whole),
            (Some("bytes=-"), Part::Whole),
            (Some("lines=1-2"), Part::Whole),
        ] {
            assert_eq!(part(range, 10), expected, "{range:?}");
        }
        assert_eq!(part(Some("bytes=0-"), 0), Part::Outside);
    }
}
