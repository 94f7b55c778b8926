//! The host name that user data sets (RFC 1123, section 2.1; RFC 1035, section 2.3.4).

use super::bounds::wrong;
use super::jinja::MARK;
use crate::error::Result;
use crate::kubernetes::names::LABEL_LIMIT;

/// Longest host name.
const LIMIT: usize = 253;

/// The host name in `field`, without one dot at its end. The name of an expression without a value is left
/// as it is.
pub fn checked(field: &str, name: &str) -> Result<String> {
    let name = name.strip_suffix('.').unwrap_or(name);
    match problem(name).filter(|_| !name.contains(MARK)) {
        Some(problem) => Err(wrong(format!("{field} is no host name: {problem}"))),
        None => Ok(name.to_owned()),
    }
}

fn problem(name: &str) -> Option<String> {
    let is_label = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if name.len() > LIMIT {
        return Some(format!("it has more than {LIMIT} characters"));
    }
    name.split('.').find_map(|label| {
        if label.is_empty() {
            Some("a part between dots is empty".to_owned())
        } else if label.len() > LABEL_LIMIT {
            Some(format!("a part between dots has more than {LABEL_LIMIT} characters"))
        } else if !label.bytes().all(is_label) {
            Some("only letters, digits, hyphens and dots may be in it".to_owned())
        } else if label.starts_with('-') || label.ends_with('-') {
            Some("a part between dots begins or ends with a hyphen".to_owned())
        } else {
            None
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_name_is_told_by_its_field_and_its_rule() {
        let (long, longest) = ("n".repeat(64), "n.".repeat(128));
        for (name, expected) in [
            ("n1", Ok("n1")),
            ("Worker-7.example.internal.", Ok("Worker-7.example.internal")),
            ("my_worker", Err("fqdn is no host name: only letters")),
            ("a..b", Err("fqdn is no host name: a part between dots is empty")),
            ("", Err("is empty")),
            ("..", Err("is empty")),
            ("a.-b", Err("begins or ends")),
            (&long, Err("more than 63")),
            (&longest, Err("more than 253")),
        ] {
            match (checked("fqdn", name), expected) {
                (Ok(name), Ok(expected)) => assert_eq!(name, expected),
                (Err(failure), Err(expected)) => assert!(failure.message.contains(expected), "{failure}"),
                (found, _) => panic!("{name}: {found:?}"),
            }
        }
    }
}
