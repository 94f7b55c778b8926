//! Command lines of services on Windows: their words, and the programs that they begin with.

/// Writes the log of a program to a file; beside it in images with Kubernetes 1.23 and newer.
const LOG_RUNNER: &str = "kube-log-runner.exe";

/// The programs that a service's command line begins with: the one that serves, and what is in front of it.
pub struct Programs<'a> {
    /// The command line so far; none without a service.
    pub before: Option<&'a str>,
    /// The program, where there is no service that names it.
    pub program: &'a str,
    /// The file of its log.
    pub log: &'a str,
    /// Whether this program is on the disk.
    pub is_there: &'a dyn Fn(&str) -> bool,
}

impl<'a> Programs<'a> {
    /// Those of this machine.
    pub fn here(before: Option<&'a str>, program: &'a str, log: &'a str) -> Self {
        Self { before, program, log, is_there: &|path| std::path::Path::new(path).is_file() }
    }

    /// The words of the command line so far up to the program, which may have one in front that writes its
    /// log.
    pub fn words(&self) -> Vec<String> {
        let own = file_name(self.program);
        let mut words = split(self.before.unwrap_or_default());
        match words.iter().position(|word| file_name(word).eq_ignore_ascii_case(own)) {
            Some(at) => words.truncate(at + 1),
            None => words = vec![self.program.to_owned()],
        }
        let folder = words[0].strip_suffix(file_name(&words[0])).unwrap_or_default();
        let runner = format!("{folder}{LOG_RUNNER}");
        if words.len() == 1 && (self.is_there)(&runner) {
            words.splice(0..0, [runner, format!("--log-file={}", self.log)]);
        }
        words
    }
}

/// The command line of these words.
pub fn joined(words: &[String]) -> String {
    words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
}

fn file_name(path: &str) -> &str {
    path.rsplit(['/', '\\']).next().unwrap_or(path)
}

/// A word as Windows programs split command lines (CommandLineToArgvW): in quotes if it has blanks, with
/// backslashes doubled only in front of quotes.
fn quoted(word: &str) -> String {
    if !word.is_empty() && !word.contains([' ', '\t', '"']) {
        return word.to_owned();
    }
    let mut text = String::from("\"");
    let mut backslashes = 0;
    for letter in word.chars() {
        match letter {
            '\\' => backslashes += 1,
            '"' => {
                text.push_str(&"\\".repeat(backslashes + 1));
                backslashes = 0;
            }
            _ => backslashes = 0,
        }
        text.push(letter);
    }
    text.push_str(&"\\".repeat(backslashes));
    text.push('"');
    text
}

/// The words of a command line.
fn split(line: &str) -> Vec<String> {
    let (mut words, mut word) = (Vec::new(), None::<String>);
    let (mut is_quoted, mut backslashes) = (false, 0_usize);
    for letter in line.chars() {
        let is_escaped = backslashes % 2 == 1;
        match letter {
            '\\' => {
                backslashes += 1;
                word.get_or_insert_default().push(letter);
                continue;
            }
            '"' => {
                let word = word.get_or_insert_default();
                word.truncate(word.len() - backslashes.div_ceil(2));
                if is_escaped {
                    word.push('"');
                } else {
                    is_quoted = !is_quoted;
                }
            }
            ' ' | '\t' if !is_quoted => words.extend(word.take()),
            letter => word.get_or_insert_default().push(letter),
        }
        backslashes = 0;
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_is_split_into_the_words_that_it_was_made_of() {
        for words in [
            vec![r"C:\k\kubelet.exe", "--a=b", "--x="],
            vec![r"C:\Program Files\k\kubelet.exe", "", r"C:\with blank\"],
            vec![r#"say "hello" \"#, r#"a\\"b"#, r"\\server\share name\"],
        ] {
            let line = words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ");
            assert_eq!(split(&line), words, "{line}");
        }
        assert_eq!(split("  a\t\"b c\"d "), ["a", "b cd"]);
    }
}
