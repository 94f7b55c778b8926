//! Shell-style patterns for paths: `?`, `*` and `[…]` do not match `/`, `**` does.

use std::collections::BTreeMap;

use crate::tree::{Entry, Tree, TreePath};

/// Whether all of `path` matches `pattern`. A `**/` also matches zero folders; a `[` without its `]` is a
/// plain character. The time is proportional to the product of both lengths, for any input.
pub fn matches(pattern: &str, path: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let path: Vec<char> = path.chars().collect();
    // For each length: whether the pattern so far matches the first bytes of the path.
    let mut matched = vec![false; path.len() + 1];
    matched[0] = true;
    let mut rest = pattern.as_slice();
    while let Some((element, behind)) = next(rest) {
        matched = element.extend(&matched, &path);
        rest = behind;
    }
    matched[path.len()]
}

/// The entries of `tree` whose path matches `pattern`.
/// What is behind a link is none of them: there are no such entries in a tree.
pub fn entries<'a>(tree: &'a Tree, pattern: &'a str) -> impl Iterator<Item = (&'a TreePath, &'a Entry)> {
    select(&tree.entries, pattern)
}

/// What a table has for the paths that match `pattern`; only those that begin like it are compared with it.
pub(crate) fn select<'a, Of>(
    paths: &'a BTreeMap<TreePath, Of>,
    pattern: &'a str,
) -> impl Iterator<Item = (&'a TreePath, &'a Of)> {
    let prefix = &pattern[..pattern.find('*').unwrap_or(pattern.len())];
    let from = paths.range(prefix.to_owned()..);
    let alike = from.take_while(move |(path, _)| path.starts_with(prefix));
    alike.filter(move |(path, _)| matches(pattern, path))
}

/// A piece of a pattern.
enum Element<'a> {
    /// `**/`
    Folders,
    /// `**`
    Anything,
    /// `*`
    InFolder,
    /// `?`, or a letter.
    Letter(char),
    /// `[…]`
    Class(CharacterClass<'a>),
}

/// The first piece of a pattern, and the rest.
fn next(pattern: &[char]) -> Option<(Element<'_>, &[char])> {
    Some(match pattern {
        [] => return None,
        ['*', '*', '/', rest @ ..] => (Element::Folders, rest),
        ['*', '*', rest @ ..] => (Element::Anything, rest),
        ['*', rest @ ..] => (Element::InFolder, rest),
        ['[', inside @ ..] => match class(inside) {
            Some((class, rest)) => (Element::Class(class), rest),
            None => (Element::Letter('['), inside),
        },
        [letter, rest @ ..] => (Element::Letter(*letter), rest),
    })
}

impl Element<'_> {
    /// Which prefixes of `path` match the pattern up to this piece, where `before` are those that match
    /// without it.
    fn extend(&self, before: &[bool], path: &[char]) -> Vec<bool> {
        let mut shorter = false;
        let mut after = vec![self.takes_nothing() && before[0]];
        for (index, letter) in path.iter().enumerate() {
            shorter |= before[index];
            after.push(match self {
                Self::Folders => before[index + 1] || (*letter == '/' && shorter),
                Self::Anything => before[index + 1] || shorter,
                Self::InFolder => before[index + 1] || (*letter != '/' && after[index]),
                Self::Letter(wanted) => {
                    before[index] && (wanted == letter || (*wanted == '?' && *letter != '/'))
                }
                Self::Class(class) => before[index] && class.takes(*letter),
            });
        }
        after
    }

    const fn takes_nothing(&self) -> bool {
        matches!(self, Self::Folders | Self::Anything | Self::InFolder)
    }
}

struct CharacterClass<'a> {
    negated: bool,
    letters: &'a [char],
}

impl CharacterClass<'_> {
    fn takes(&self, letter: char) -> bool {
        letter != '/' && self.lists(letter) != self.negated
    }

    fn lists(&self, letter: char) -> bool {
        let mut rest = self.letters;
        while let [first, tail @ ..] = rest {
            rest = match tail {
                ['-', last, tail @ ..] => {
                    if (*first..=*last).contains(&letter) {
                        return true;
                    }
                    tail
                }
                _ if *first == letter => return true,
                _ => tail,
            };
        }
        false
    }
}

/// Parses the text after a `[`: the class, and the pattern after its `]`. A `]` in first place is a plain
/// character.
fn class(inside: &[char]) -> Option<(CharacterClass<'_>, &[char])> {
    let negated = matches!(inside.first(), Some('!' | '^'));
    let letters = &inside[usize::from(negated)..];
    let close = letters.iter().skip(1).position(|letter| *letter == ']')? + 1;
    Some((CharacterClass { negated, letters: &letters[..close] }, &letters[close + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_a_shell() {
        let table = [
            ("bin/runc", "bin/runc", true),
            ("bin/*", "bin/runc", true),
            ("bin/*", "bin/sub/runc", false),
            ("bin/**", "bin/sub/runc", true),
            ("**/runc", "runc", true),
            ("**/runc", "usr/sbin/runc", true),
            ("**/runc", "usr/sbin/crunc", false),
            ("usr/**/runc", "usr/runc", true),
            ("*", "a/b", false),
            ("**", "a/b", true),
            ("?", "/", false),
            ("a?c", "abc", true),
            ("a[b-d]e", "ace", true),
            ("a[!b-d]e", "ace", false),
            ("a[]x]e", "a]e", true),
            ("a[/]b", "a/b", false),
            ("a[b", "a[b", true),
            ("*.so*", "libc.so.6", true),
            ("", "a", false),
        ];
        for (pattern, path, expected) in table {
            assert_eq!(matches(pattern, path), expected, "{pattern} on {path}");
        }
    }

    #[test]
    fn hostile_patterns_end_quickly() {
        let path = "a".repeat(4000);
        assert!(!matches(&format!("{}b", "*a".repeat(100)), &path));
        assert!(matches(&"**".repeat(50_000), "a"));
    }
}
