//! Shell-style patterns on paths: `?`, `*` and `[…]` stop at `/`, `**` does not.

/// Whether the whole of `path` matches `pattern`. A `**/` also matches no folder at all; a `[` without its `]` is a letter.
pub fn matches(pattern: &str, path: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let path: Vec<char> = path.chars().collect();
    matches_from(&pattern, &path)
}

fn matches_from(pattern: &[char], path: &[char]) -> bool {
    match pattern {
        [] => path.is_empty(),
        ['*', '*', '/', rest @ ..] => matches_from(rest, path) || folder_ends(path).any(|end| matches_from(rest, &path[end..])),
        ['*', '*', rest @ ..] => (0..=path.len()).any(|taken| matches_from(rest, &path[taken..])),
        ['*', rest @ ..] => {
            let longest = path.iter().position(|letter| *letter == '/').unwrap_or(path.len());
            (0..=longest).any(|taken| matches_from(rest, &path[taken..]))
        }
        ['[', inside @ ..] => match class(inside) {
            Some((class, rest)) => path.split_first().is_some_and(|(letter, path)| class.takes(*letter) && matches_from(rest, path)),
            None => path.first() == Some(&'[') && matches_from(inside, &path[1..]),
        },
        [wanted, rest @ ..] => path
            .split_first()
            .is_some_and(|(letter, path)| (wanted == letter || (*wanted == '?' && *letter != '/')) && matches_from(rest, path)),
    }
}

/// The positions behind each `/`.
fn folder_ends(path: &[char]) -> impl Iterator<Item = usize> {
    path.iter().enumerate().filter(|(_, letter)| **letter == '/').map(|(index, _)| index + 1)
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

/// Reads what follows a `[`: the class, and the pattern behind its `]`. A `]` in first place is a letter.
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
}
