//! Names of archive entries: cleaned, or refused with the reason.

/// The longest path of an entry in bytes, like PATH_MAX of Linux.
const PATH_BYTES: usize = 4096;
/// The longest component in bytes, like NAME_MAX of Linux.
const NAME_BYTES: usize = 255;
/// The most components in a path: far more than in any real tree (kernel modules have 10), far less than
/// would make readers recurse too deep.
const DEPTH: usize = 128;

/// Why a name is refused.
pub(crate) type Reason = String;

/// The path as a [`crate::tree::TreePath`]: no leading `./`, no empty or `.` components; empty for the
/// archive's root.
pub(crate) fn clean(raw: &[u8]) -> Result<String, Reason> {
    let text = readable(raw)?;
    // "/" alone is the root itself: some writers name it so.
    if text.starts_with('/') && text.bytes().any(|byte| byte != b'/') {
        return Err("its path is absolute".into());
    }
    let mut components = Vec::new();
    for component in text.split('/').filter(|component| !component.is_empty() && *component != ".") {
        if component == ".." {
            return Err("its path contains \"..\"".into());
        }
        if component.len() > NAME_BYTES {
            return Err(format!("a component of its path is longer than {NAME_BYTES} bytes"));
        }
        components.push(component);
    }
    if components.len() > DEPTH {
        return Err(format!("it lies deeper than {DEPTH} folders"));
    }
    Ok(components.join("/"))
}

/// The target of a symbolic link, as written.
pub(crate) fn target(raw: &[u8]) -> Result<String, Reason> {
    let text = readable(raw).map_err(|reason| format!("the target of the link: {reason}"))?;
    if text.is_empty() { Err("it is a link to nothing".into()) } else { Ok(text.to_owned()) }
}

fn readable(raw: &[u8]) -> Result<&str, Reason> {
    if raw.len() > PATH_BYTES {
        return Err(format!("its path is longer than {PATH_BYTES} bytes"));
    }
    let text = std::str::from_utf8(raw).map_err(|_| "its path is not UTF-8".to_owned())?;
    match text.chars().find(|letter| letter.is_ascii_control()) {
        Some(letter) => Err(format!("its path contains the control character {letter:?}")),
        None => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn harmless_spellings_become_one() {
        for raw in ["a/b", "./a/b", "a//b", "a/./b/", "././a/b"] {
            assert_eq!(clean(raw.as_bytes()).unwrap(), "a/b", "{raw}");
        }
        assert_eq!(clean(b"./").unwrap(), "");
        assert_eq!(clean(b"/").unwrap(), "");
    }

    #[test]
    fn everything_else_is_refused() {
        let deep = "d/".repeat(DEPTH + 1);
        let long = "n".repeat(NAME_BYTES + 1);
        for raw in ["/a", "..", "a/../b", "a\0b", "a\nb", &deep, &long, &"a/".repeat(PATH_BYTES)] {
            assert!(clean(raw.as_bytes()).is_err(), "{raw:?}");
        }
        assert!(clean(b"\xff").is_err());
        assert!(target(b"").is_err());
    }
}
