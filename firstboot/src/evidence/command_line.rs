//! The kernel command line, /proc/cmdline. On Windows, which has none, a file of the image takes its place.

use crate::host::files;
use crate::host::root::Root;
use crate::paths;

/// The program and its arguments.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommandLine(Vec<String>);

impl CommandLine {
    /// The machine's command line; empty where there is none.
    pub fn of(root: &Root) -> Self {
        Self::parse(&files::text(root, paths::COMMAND_LINE).unwrap_or_default())
    }

    /// Words as the kernel splits them: at blanks, except between double quotes, which are removed. Words
    /// after `--` are for init.
    pub fn parse(line: &str) -> Self {
        let mut words = vec![String::new()];
        let mut is_quoted = false;
        for character in line.chars() {
            match character {
                '"' => is_quoted = !is_quoted,
                blank if blank.is_ascii_whitespace() && !is_quoted => words.push(String::new()),
                other => words.last_mut().into_iter().for_each(|word| word.push(other)),
            }
        }
        Self(
            words
                .into_iter()
                .take_while(|word| word != "--")
                .filter(|word| !word.is_empty())
                .collect(),
        )
    }

    /// The words.
    pub fn words(&self) -> &[String] {
        &self.0
    }

    /// Whether `word` is one of the words.
    pub fn has(&self, word: &str) -> bool {
        self.0.iter().any(|each| each == word)
    }

    /// The value of `key=value`. The last of several wins, as with the kernel's own arguments.
    pub fn value(&self, key: &str) -> Option<&str> {
        self.0.iter().rev().find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_the_kernel_does() {
        let line = CommandLine::parse("quiet a=1 \"b=two words\" a=2 c=\"x y\"z\n -- d=4");
        assert_eq!(line.words(), ["quiet", "a=1", "b=two words", "a=2", "c=x yz"]);
        assert_eq!(
            (line.value("a"), line.value("b"), line.value("d"), line.value("quiet")),
            (Some("2"), Some("two words"), None, None)
        );
        assert!(line.has("quiet") && !line.has("a"));
        assert_eq!(CommandLine::parse(""), CommandLine::default());
    }
}
