//! `sed`, as far as it replaces plain text: `s/A/B/` and `s/A/B/g`, with any delimiter, in every line.

/// Longer patterns are not evaluated: comparing one at every place of a long line takes too long.
const LONGEST_PATTERN: usize = 256;

/// Signs that mean more than themselves in a pattern.
const SPECIAL: &str = ".[*^$";
/// Those that do so with `-E` alone.
const EXTENDED: &str = "+?(){}|";

/// A replacement.
#[derive(Debug, PartialEq, Eq)]
pub struct Substitution {
    /// What is replaced; `None` stands for any character.
    pattern: Vec<Option<char>>,
    replacement: String,
    /// Whether it replaces all in a line, not only the first.
    is_global: bool,
}

/// The commands of a script, separated by `;` or line breaks; `None` if one is not plain.
pub fn parse(script: &str, is_extended: bool) -> Option<Vec<Substitution>> {
    let mut rest = script.trim_matches([' ', ';', '\n']);
    let mut found = Vec::new();
    while !rest.is_empty() {
        let (substitution, behind) = one(rest, is_extended)?;
        found.push(substitution);
        rest = match behind.trim_start_matches(' ') {
            "" => "",
            behind => behind.strip_prefix([';', '\n'])?.trim_matches([' ', ';', '\n']),
        };
    }
    (!found.is_empty()).then_some(found)
}

fn one(script: &str, is_extended: bool) -> Option<(Substitution, &str)> {
    let rest = script.strip_prefix('s')?;
    let delimiter = rest.chars().next().filter(|sign| !sign.is_alphanumeric() && !"\\\n ".contains(*sign))?;
    let rest = rest.get(delimiter.len_utf8()..)?;
    let (pattern, rest) = until(rest, delimiter)?;
    let (replacement, rest) = until(rest, delimiter)?;
    let (is_global, rest) = rest.strip_prefix('g').map_or((false, rest), |rest| (true, rest));
    if pattern.contains('\\') && (SPECIAL.contains(delimiter) || is_extended && EXTENDED.contains(delimiter))
    {
        // An escaped delimiter is special then.
        return None;
    }
    let pattern = plain_pattern(pattern, delimiter, is_extended)?;
    let replacement = plain_replacement(replacement, delimiter)?;
    Some((Substitution { pattern, replacement, is_global }, rest))
}

/// The text before the next delimiter without a backslash before it, and the text behind.
fn until(text: &str, delimiter: char) -> Option<(&str, &str)> {
    let mut is_escaped = false;
    for (position, character) in text.char_indices() {
        match character {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            _ if character == delimiter => {
                return Some((text.get(..position)?, text.get(position + delimiter.len_utf8()..)?));
            }
            _ => {}
        }
    }
    None
}

fn plain_pattern(text: &str, delimiter: char, is_extended: bool) -> Option<Vec<Option<char>>> {
    let is_special = |sign| sign != '.' && (SPECIAL.contains(sign) || is_extended && EXTENDED.contains(sign));
    let mut pattern = Vec::new();
    let mut rest = text.chars();
    while let Some(character) = rest.next() {
        pattern.push(match character {
            '\\' => Some(rest.next().filter(|next| ".[]*^$/\\-".contains(*next) || *next == delimiter)?),
            '.' => None,
            character if is_special(character) => return None,
            character => Some(character),
        });
    }
    (1..=LONGEST_PATTERN).contains(&pattern.len()).then_some(pattern)
}

fn plain_replacement(text: &str, delimiter: char) -> Option<String> {
    let mut replacement = String::new();
    let mut rest = text.chars();
    while let Some(character) = rest.next() {
        replacement.push(match character {
            '\\' => rest.next().filter(|next| "/\\&.".contains(*next) || *next == delimiter)?,
            '&' | '\n' => return None,
            character => character,
        });
    }
    Some(replacement)
}

impl Substitution {
    /// Does it in every line of `text`.
    pub fn apply(&self, text: &str) -> String {
        text.split_inclusive('\n').map(|line| self.line(line)).collect()
    }

    fn line(&self, line: &str) -> String {
        let mut changed = String::with_capacity(line.len());
        let mut rest = line;
        while let Some(first) = rest.chars().next() {
            if let Some(length) = self.matched(rest) {
                changed.push_str(&self.replacement);
                rest = rest.get(length..).unwrap_or_default();
                if !self.is_global {
                    break;
                }
            } else {
                changed.push(first);
                rest = rest.get(first.len_utf8()..).unwrap_or_default();
            }
        }
        changed + rest
    }

    /// The length of the match at the start of `text`.
    fn matched(&self, text: &str) -> Option<usize> {
        let mut rest = text.chars();
        for wanted in &self.pattern {
            let character = rest.next().filter(|character| *character != '\n')?;
            if wanted.is_some_and(|wanted| wanted != character) {
                return None;
            }
        }
        Some(text.len() - rest.as_str().len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The real program is the oracle where it is installed.
    fn by_sed(script: &str, is_extended: bool, text: &str) -> Option<String> {
        use std::io::Write;
        let mut command = std::process::Command::new("sed");
        command.args(is_extended.then_some("-E")).arg(script);
        let mut child = command
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .ok()?;
        child.stdin.take()?.write_all(text.as_bytes()).ok()?;
        String::from_utf8(child.wait_with_output().ok()?.stdout).ok()
    }

    #[test]
    fn plain_text_is_replaced_as_sed_does() {
        let text = "name: n1.n1\na/b @@X@@ a.b axb\nlast";
        for (script, is_extended, expected) in [
            ("s/n1/n2/", false, "name: n2.n1\na/b @@X@@ a.b axb\nlast"),
            ("s/n1/n2/g", false, "name: n2.n2\na/b @@X@@ a.b axb\nlast"),
            ("s|a/b|c/d|;s,@@X@@,y,g", false, "name: n1.n1\nc/d y a.b axb\nlast"),
            ("s/a\\/b/\\//", false, "name: n1.n1\n/ @@X@@ a.b axb\nlast"),
            ("s/a\\.b/-/g", false, "name: n1.n1\na/b @@X@@ - axb\nlast"),
            ("s/a.b/-/g", true, "name: n1.n1\n- @@X@@ - -\nlast"),
            ("s/last/é\\&/\n", false, "name: n1.n1\na/b @@X@@ a.b axb\né&"),
        ] {
            let found = parse(script, is_extended).unwrap_or_else(|| panic!("{script}"));
            let changed = found.iter().fold(text.to_owned(), |text, each| each.apply(&text));
            assert_eq!(changed, expected, "{script}");
            if let Some(real) = by_sed(script, is_extended, text) {
                assert_eq!(changed, real, "{script}");
            }
        }
    }

    #[test]
    fn what_is_not_plain_is_not_guessed() {
        for script in [
            "",
            "d",
            "1s/a/b/",
            "/x/s/a/b/",
            "s/a/b",
            "s/a/b/2",
            "s/a/b/I",
            "s/a*/b/",
            "s/^a/b/",
            "s/[a]/b/",
            "s/a/&x/",
            "s/a/\\1/",
            "s/\\w/b/",
            "s//b/",
            "sxaxbx",
            "s/a/b/;d",
        ] {
            assert_eq!(parse(script, false), None, "{script}");
        }
        assert_eq!(parse("s/a+/b/", true), None);
        assert_eq!(parse(&format!("s/{}/b/", "a".repeat(300)), false), None, "it takes too long");
        assert!(parse("s/a+/b/", false).is_some());
    }
}
