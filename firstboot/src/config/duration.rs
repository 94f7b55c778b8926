//! Durations as Go writes them: `1m30s`, `1.5h`, `300ms`, `0` (<https://pkg.go.dev/time#ParseDuration>).

use std::time::Duration;

/// Units by suffix, in nanoseconds; a suffix that begins like another stands after the longer one.
const UNITS: &[(&str, u128)] = &[
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Go keeps nanoseconds in 64 bits with a sign: about 292 years.
const LONGEST: u128 = i64::MAX as u128;

/// Digits of a fraction that are read: more say nothing at the scale of nanoseconds.
const FRACTION_DIGITS: usize = 15;

const TOO_LONG: &str = "the duration is too long";

/// The duration that `text` says; the error says why it is none. Negative ones are refused: nothing here can
/// take less than no time.
pub fn parse(text: &str) -> Result<Duration, &'static str> {
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err("the duration is empty");
    }
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let (part, after) = leading_part(rest)?;
        total = total.checked_add(part).filter(|total| *total <= LONGEST).ok_or(TOO_LONG)?;
        rest = after;
    }
    if text.starts_with('-') && total > 0 {
        return Err("the duration is negative");
    }
    u64::try_from(total).map(Duration::from_nanos).map_err(|_| TOO_LONG)
}

/// The first `number unit` of `text` in nanoseconds, and the rest.
fn leading_part(text: &str) -> Result<(u128, &str), &'static str> {
    let (whole, after) = leading_digits(text);
    let (fraction, after) = after.strip_prefix('.').map_or(("", after), leading_digits);
    if whole.is_empty() && fraction.is_empty() {
        return Err("a duration is numbers with units, such as 1m30s or 300ms");
    }
    let found = UNITS.iter().find(|(suffix, _)| after.starts_with(suffix));
    let (suffix, unit) = found.ok_or("a number lacks its unit: ns, us, ms, s, m or h")?;
    let fraction = &fraction[..fraction.len().min(FRACTION_DIGITS)];
    let number =
        |digits: &str| if digits.is_empty() { Ok(0) } else { digits.parse::<u128>().map_err(|_| TOO_LONG) };
    let below_one = number(fraction)? * unit / (0..fraction.len()).fold(1, |scale, _| scale * 10);
    let total = number(whole)?
        .checked_mul(*unit)
        .and_then(|total| total.checked_add(below_one))
        .ok_or(TOO_LONG)?;
    Ok((total, &after[suffix.len()..]))
}

fn leading_digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_go_reads() {
        let rows = [
            ("0", 0),
            ("-0", 0),
            ("+0s", 0),
            ("8s", 8_000_000_000),
            ("1m30s", 90_000_000_000),
            ("1m0s", 60_000_000_000),
            ("1.5h", 5_400_000_000_000),
            (".5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("300ms", 300_000_000),
            ("2us3ns", 2_003),
            ("7µs", 7_000),
            ("7μs", 7_000),
            ("1.0000000000000000000000000000000000000001s", 1_000_000_000),
            ("30s1h", 3_630_000_000_000),
        ];
        for (text, nanoseconds) in rows {
            assert_eq!(parse(text), Ok(Duration::from_nanos(nanoseconds)), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_none() {
        let huge = "9".repeat(60) + "h";
        for text in [
            "", "-", "5", "1s0", "s", ".s", "1d", "1 s", "-5s", "1m-30s", "9999999h", "1x", "1e3s", "٣s",
            &huge,
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
