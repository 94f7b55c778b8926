//! The order of versions of Debian packages: deb-version(7), as dpkg's `lib/dpkg/version.c` has it.

use std::cmp::Ordering;

/// Compares two versions. Text that dpkg would not take as a version has a place in the order too.
pub fn compare(left: &str, right: &str) -> Ordering {
    let (left, right) = (Version::of(left), Version::of(right));
    left.epoch
        .cmp(&right.epoch)
        .then_with(|| compare_part(left.upstream, right.upstream))
        .then_with(|| compare_part(left.revision, right.revision))
}

struct Version<'a> {
    epoch: u64,
    upstream: &'a [u8],
    /// Empty if there is none, which counts as `0`.
    revision: &'a [u8],
}

impl<'a> Version<'a> {
    fn of(text: &'a str) -> Self {
        let text = text.trim();
        let epoch = text.split_once(':').and_then(|(epoch, rest)| Some((epoch.parse().ok()?, rest)));
        let (epoch, rest) = epoch.unwrap_or((0, text));
        let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
        Self { epoch, upstream: upstream.as_bytes(), revision: revision.as_bytes() }
    }
}

/// Compares runs of other characters and of digits in turn.
fn compare_part<'a>(mut left: &'a [u8], mut right: &'a [u8]) -> Ordering {
    while !left.is_empty() || !right.is_empty() {
        let [one, other] = [&mut left, &mut right].map(|text| take(text, |byte| !byte.is_ascii_digit()));
        let longest = one.len().max(other.len());
        for at in 0..longest {
            let [one, other] = [one, other].map(|run| weight(run.get(at).copied()));
            if one != other {
                return one.cmp(&other);
            }
        }
        let [one, other] =
            [&mut left, &mut right].map(|text| number(take(text, |byte| byte.is_ascii_digit())));
        // Without zeros in front, the longer number is the larger one.
        let order = one.len().cmp(&other.len()).then_with(|| one.cmp(other));
        if order.is_ne() {
            return order;
        }
    }
    Ordering::Equal
}

/// Takes the bytes at the beginning of `text` that `belong`.
fn take<'a>(text: &mut &'a [u8], belong: fn(&u8) -> bool) -> &'a [u8] {
    let end = text.iter().position(|byte| !belong(byte)).unwrap_or(text.len());
    let (run, rest) = text.split_at(end);
    *text = rest;
    run
}

fn number(digits: &[u8]) -> &[u8] {
    &digits[digits.iter().take_while(|digit| **digit == b'0').count()..]
}

/// A tilde is before the end, which is before letters, which are before all others.
fn weight(byte: Option<u8>) -> i32 {
    match byte {
        Some(b'~') => -1,
        None => 0,
        Some(letter) if letter.is_ascii_alphabetic() => i32::from(letter),
        Some(other) => i32::from(other) + 256,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::tool;

    const VERSIONS: [&str; 34] = [
        "0",
        "0~",
        "0~~",
        "0-0",
        "00",
        "1",
        "1.0",
        "1.00",
        "1.0-0",
        "1.0-1",
        "1.0-1+b1",
        "1.0-1+deb12u1",
        "1.0-10",
        "1.0-9",
        "1.0-1~bpo12+1",
        "1.0~rc1-1",
        "1.0~~",
        "1.0a",
        "1.0+",
        "1.0+git1",
        "1.0.",
        "1.0.1",
        "1:0",
        "1:0.9",
        "2:0.1",
        "10",
        "9",
        "1.0-1-1",
        "1.0-1ubuntu1",
        "1.0-1ubuntu0.1",
        "2.41-12+deb13u1",
        "2.41-12",
        "6.12.57-1",
        "1.2.3.dfsg-1",
    ];

    #[test]
    fn the_order_is_that_of_dpkg() {
        if tool("dpkg").arg("--version").output().is_err() {
            return testkit::not_run("the_order_is_that_of_dpkg", "no dpkg");
        }
        let is = |left: &str, relation: &str, right: &str| {
            tool("dpkg")
                .args(["--compare-versions", left, relation, right])
                .status()
                .unwrap()
                .success()
        };
        for left in VERSIONS {
            for right in VERSIONS {
                let relation = match compare(left, right) {
                    Ordering::Less => "lt-nl",
                    Ordering::Equal => "eq",
                    Ordering::Greater => "gt-nl",
                };
                assert!(is(left, relation, right), "{left} {relation} {right}");
            }
        }
    }

    #[test]
    fn what_is_no_version_has_a_place_too() {
        for text in ["", ":", "-", "x:1", "1:", "é", "99999999999999999999999:1"] {
            assert_eq!(compare(text, text), Ordering::Equal, "{text}");
            assert_eq!(compare(text, "1:1"), compare("1:1", text).reverse(), "{text}");
        }
    }
}
