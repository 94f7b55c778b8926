//! What a word without quotes is: YAML 1.1 leaves room, so each reader of it decides differently.

use serde_json::{Number, Value};

use super::python_text;

/// Whose reading of YAML counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// Kubernetes' library, sigs.k8s.io/yaml, which kubeadm and the kubelet use
    /// (<https://github.com/kubernetes-sigs/yaml/blob/master/goyaml.v2/resolve.go>).
    Kubernetes,
    /// PyYAML's safe loader, which cloud-init uses (<https://github.com/yaml/pyyaml/blob/main/lib/yaml/resolver.py>).
    CloudInit,
}

/// What a plain word is.
#[derive(Debug, PartialEq)]
pub(super) enum Plain {
    Text,
    Value(Value),
    /// A number that Python writes in another way; null for a date, an infinity or a large number, which JSON
    /// does not have.
    Otherwise(Value),
    /// The reader fails at it.
    Refused(&'static str),
}

impl Dialect {
    /// Reads a word that has neither quotes nor a tag.
    pub(super) fn plain(self, word: &str) -> Plain {
        match (self, word) {
            (_, "" | "~" | "null" | "Null" | "NULL") => Plain::Value(Value::Null),
            (_, "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON") => {
                Plain::Value(Value::Bool(true))
            }
            (_, "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF") => {
                Plain::Value(Value::Bool(false))
            }
            (Self::Kubernetes, "y" | "Y") => Plain::Value(Value::Bool(true)),
            (Self::Kubernetes, "n" | "N") => Plain::Value(Value::Bool(false)),
            (Self::Kubernetes, word) => by_go(word),
            (Self::CloudInit, "=" | "<<") => Plain::Refused("a sign without quotes, = or <<, is no value"),
            (Self::CloudInit, word) => by_python(word),
        }
    }
}

/// The sign of a number, and the rest.
fn signed(word: &str) -> (&'static str, &str) {
    match word.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", word.strip_prefix('+').unwrap_or(word)),
    }
}

fn is_infinite(unsigned: &str) -> bool {
    matches!(unsigned, ".inf" | ".Inf" | ".INF")
}

fn is_nan(word: &str) -> bool {
    matches!(word, ".nan" | ".NaN" | ".NAN")
}

/// The whole number; `None` if it is none, `Some(None)` if it has more than 64 bits.
fn whole(sign: &str, digits: &str, base: u32) -> Option<Option<Number>> {
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(base)) {
        return None;
    }
    let number = i128::from_str_radix(digits, base).ok();
    let number = number.map(|number| if sign == "-" { -number } else { number });
    Some(number.and_then(Number::from_i128).filter(|number| number.is_i64() || number.is_u64()))
}

/// The digits and the base that a prefix means.
fn based(unsigned: &str) -> (&str, u32) {
    let prefix = unsigned.get(..2).unwrap_or_default().to_ascii_lowercase();
    let behind = unsigned.get(2..).unwrap_or_default();
    match prefix.as_str() {
        "0x" => (behind, 16),
        "0o" => (behind, 8),
        "0b" => (behind, 2),
        _ if unsigned.starts_with('0') => (unsigned, 8),
        _ => (unsigned, 10),
    }
}

fn by_go(word: &str) -> Plain {
    if is_infinite(signed(word).1) || is_nan(word) {
        return Plain::Refused("a number is not finite");
    }
    let is_number = word.starts_with(|first: char| first.is_ascii_digit() || "+-".contains(first));
    let plain = match word.starts_with('.') {
        // Go allows underscores between the digits of a fraction alone.
        true if !is_underscored_well(word) => return Plain::Text,
        false if !is_number => return Plain::Text,
        _ => word.replace('_', ""),
    };
    let (sign, unsigned) = signed(&plain);
    let (digits, base) = based(unsigned);
    if let Some(Some(number)) = whole(sign, digits, base) {
        return Plain::Value(Value::Number(number));
    }
    let float = is_go_float(unsigned).then(|| plain.parse::<f64>().ok()).flatten();
    float.and_then(of_float).map_or(Plain::Text, |number| Plain::Value(Value::Number(number)))
}

fn is_underscored_well(word: &str) -> bool {
    let bytes = word.as_bytes();
    let is_digit = |position: Option<usize>| {
        position.and_then(|position| bytes.get(position)).is_some_and(u8::is_ascii_digit)
    };
    bytes.iter().enumerate().all(|(position, byte)| {
        *byte != b'_' || (is_digit(position.checked_sub(1)) && is_digit(position.checked_add(1)))
    })
}

/// `(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn is_go_float(unsigned: &str) -> bool {
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let are_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (before, behind) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    are_digits(before)
        && are_digits(behind)
        && !(before.is_empty() && behind.is_empty())
        && exponent.is_none_or(|exponent| {
            let digits = signed(exponent).1;
            !digits.is_empty() && are_digits(digits)
        })
}

/// A finite number, as the whole number that it may be.
fn of_float(float: f64) -> Option<Number> {
    /// Up to here a float has every whole number.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if float.fract() == 0.0 && float.abs() <= EXACT {
        #[expect(clippy::cast_possible_truncation, reason = "it is whole, and in the range")]
        return Some((float as i64).into());
    }
    Number::from_f64(float)
}

fn by_python(word: &str) -> Plain {
    let (sign, unsigned) = signed(word);
    if is_infinite(unsigned) || is_nan(word) || is_date(word) {
        return Plain::Otherwise(Value::Null);
    }
    let number = match python_float(word) {
        Some(float) => Number::from_f64(float),
        None => match python_whole(sign, unsigned) {
            Some(number) => number,
            None => return Plain::Text,
        },
    };
    let value = number.map_or(Value::Null, Value::Number);
    if python_text(&value).as_deref() == Some(word) { Plain::Value(value) } else { Plain::Otherwise(value) }
}

/// Whether `text` has digits, with underscores behind the first one.
fn has_digits(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_digit()) && may_have_digits(text)
}

fn may_have_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_')
}

/// `190:20:30`: the parts of a number with base 60, of which there are two or more.
fn sixties(text: &str) -> Option<Vec<&str>> {
    let parts: Vec<&str> = text.split(':').collect();
    let is_part = |part: &&str| match part.as_bytes() {
        [unit] => unit.is_ascii_digit(),
        [b'0'..=b'5', unit] => unit.is_ascii_digit(),
        _ => false,
    };
    let (first, rest) = parts.split_first()?;
    (!rest.is_empty() && has_digits(first) && rest.iter().all(is_part)).then_some(parts)
}

fn python_whole(sign: &str, unsigned: &str) -> Option<Option<Number>> {
    let without = |text: &str| text.replace('_', "");
    if let Some(digits) = unsigned.strip_prefix("0b") {
        return whole(sign, &without(digits), 2);
    }
    if let Some(digits) = unsigned.strip_prefix("0x") {
        return whole(sign, &without(digits), 16);
    }
    if unsigned.starts_with('0') {
        return whole(sign, &without(unsigned), 8);
    }
    if let Some(parts) = sixties(unsigned) {
        let number = parts
            .iter()
            .try_fold(0_u64, |sum, part| sum.checked_mul(60)?.checked_add(without(part).parse().ok()?));
        return Some(number.and_then(|number| whole(sign, &number.to_string(), 10)?));
    }
    has_digits(unsigned).then(|| whole(sign, &without(unsigned), 10))?
}

/// A float has a point; its exponent has a sign.
fn python_float(word: &str) -> Option<f64> {
    let (sign, unsigned) = signed(word);
    let (before, behind) = unsigned.split_once('.')?;
    let (fraction, exponent) = match behind.find(['e', 'E']) {
        Some(at) => (behind.get(..at)?, Some(behind.get(at + 1..)?)),
        None => (behind, None),
    };
    let is_exponent = |exponent: &str| {
        exponent
            .strip_prefix(['-', '+'])
            .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit()))
    };
    if !may_have_digits(fraction) || exponent.is_some_and(|exponent| !is_exponent(exponent)) {
        return None;
    }
    let without = |text: &str| text.replace('_', "");
    if let Some(parts) = sixties(before).filter(|_| exponent.is_none()) {
        let (last, more) = parts.split_last()?;
        let more = more
            .iter()
            .try_fold(0.0, |sum, part| Some(sum * 60.0 + without(part).parse::<f64>().ok()?))?;
        let last: f64 = without(&format!("{last}.{fraction}")).parse().ok()?;
        let number = more * 60.0 + last;
        return Some(if sign == "-" { -number } else { number });
    }
    (has_digits(before) || (word.starts_with('.') && has_digits(fraction)))
        .then(|| without(&format!("{sign}{unsigned}")).parse().ok())
        .flatten()
}

/// `2026-11-29`, with a time or without one.
fn is_date(word: &str) -> bool {
    let digits = |text: &str, most: usize| {
        (1..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    let date = |text: &str, is_short: bool| {
        let parts: Vec<&str> = text.split('-').collect();
        let [year, month, day] = parts.as_slice() else { return false };
        year.len() == 4
            && digits(year, 4)
            && [month, day].iter().all(|part| digits(part, 2) && (is_short || part.len() == 2))
    };
    let zone = |text: &str| {
        let offset = text.strip_prefix(['-', '+']);
        let (hours, minutes) =
            offset.unwrap_or_default().split_once(':').unwrap_or((offset.unwrap_or_default(), "00"));
        matches!(text, "" | "Z") || (digits(hours, 2) && minutes.len() == 2 && digits(minutes, 2))
    };
    let time = |text: &str| {
        let end = text.find(|letter: char| !letter.is_ascii_digit() && !":.".contains(letter));
        let (clock, behind) = text.split_at(end.unwrap_or(text.len()));
        let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
        let parts: Vec<&str> = clock.split(':').collect();
        let [hours, minutes, seconds] = parts.as_slice() else { return false };
        digits(hours, 2)
            && [minutes, seconds].iter().all(|part| part.len() == 2 && digits(part, 2))
            && fraction.bytes().all(|byte| byte.is_ascii_digit())
            && zone(behind.trim_start_matches([' ', '\t']))
    };
    match word.find(['T', 't', ' ', '\t']) {
        None => date(word, false),
        Some(at) => {
            let (day, clock) = word.split_at(at);
            let blanks = clock.trim_start_matches([' ', '\t']);
            date(day, true) && time(if blanks.len() < clock.len() { blanks } else { &clock[1..] })
        }
    }
}

#[cfg(test)]
#[path = "plain_tests.rs"]
mod tests;
