//! Resolves links in an archive through the archive's own links, never through the host's file system.

use std::collections::BTreeMap;

use crate::tree::{Entry, Node, TreePath};

/// The most links followed for one path, as in Linux.
const HOPS: usize = 40;
/// The deepest folder on the way; deeper ones cannot exist in an archive (see `path`).
const DEPTH: usize = 256;

/// Checks that the link at `link` with `target` stays below the root of `entries`. Dangling links are
/// allowed. `rooted` says that `/` is that root.
pub(super) fn check(
    entries: &BTreeMap<TreePath, Entry>,
    link: &str,
    target: &str,
    rooted: bool,
) -> Result<(), String> {
    let escapes =
        || format!("it is a link to \"{}\", which lies outside of the archive", target.escape_debug());
    let mut place: Vec<&str> = link.split('/').collect();
    place.pop();
    let mut todo: Vec<&str> = Vec::new();
    push(&mut todo, &mut place, target, rooted).ok_or_else(escapes)?;
    let mut hops = 0;
    while let Some(component) = todo.pop() {
        if component == ".." {
            place.pop().ok_or_else(escapes)?;
            continue;
        }
        place.push(component);
        if place.len() > DEPTH {
            return Err(format!("it is a link to a path deeper than {DEPTH} folders"));
        }
        let Some(Entry { node: Node::Symlink(next), .. }) = entries.get(&place.join("/")) else { continue };
        hops += 1;
        if hops > HOPS {
            return Err(format!(
                "it is a link to \"{}\", which leads through too many links",
                target.escape_debug()
            ));
        }
        place.pop();
        push(&mut todo, &mut place, next, rooted).ok_or_else(escapes)?;
    }
    Ok(())
}

/// Queues the components of `target`. An absolute target starts at the root, or is an error.
fn push<'a>(todo: &mut Vec<&'a str>, place: &mut Vec<&'a str>, target: &'a str, rooted: bool) -> Option<()> {
    if target.starts_with('/') {
        if !rooted {
            return None;
        }
        place.clear();
    }
    todo.extend(target.split('/').rev().filter(|component| !component.is_empty() && *component != "."));
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_followed_through_links() {
        let entries: BTreeMap<_, _> =
            [("here", "."), ("up/one", ".."), ("loop", "loop"), ("sub/abs", "/etc")]
                .map(|(path, target)| (path.to_owned(), Entry::symlink(target)))
                .into();
        let table = [
            ("a/b", "../c", true),
            ("a/b", "../../c", false),
            ("x", "here/here/c", true),
            ("x", "here/here/../c", false),
            ("x", "up/one/c", true),
            ("x", "up/one/../c", false),
            ("x", "loop", false),
            ("x", "/etc/passwd", false),
            ("x", "sub/abs/y", false),
            ("x", "missing/../..", false),
        ];
        for (link, target, inside) in table {
            assert_eq!(check(&entries, link, target, false).is_ok(), inside, "{link} -> {target}");
        }
        assert!(check(&entries, "x", "/etc/passwd", true).is_ok());
        assert!(check(&entries, "x", "/..", true).is_err());
    }
}
