//! Words in front of a command that do not change which command it is: keywords, assignments, and programs
//! such as `sudo -E` and `timeout 300`.

use super::shell::{KEYWORDS, Word};

/// A program that runs its arguments as a command.
struct Prefix {
    name: &'static str,
    /// Its options that take the next word as their value.
    valued: &'static [&'static str],
    /// How many words stand between its options and the command.
    words: usize,
}

const fn prefix(name: &'static str, valued: &'static [&'static str]) -> Prefix {
    Prefix { name, valued, words: 0 }
}

const PREFIXES: &[Prefix] = &[
    prefix(
        "sudo",
        &[
            "-u", "--user", "-g", "--group", "-h", "--host", "-p", "--prompt", "-C", "-r", "-t", "-T", "-U",
            "-D", "--chdir", "-R", "--chroot",
        ],
    ),
    prefix("doas", &["-u", "-C"]),
    prefix("env", &["-u", "--unset", "-C", "--chdir"]),
    prefix("exec", &["-a"]),
    prefix("time", &["-f", "-o"]),
    prefix("command", &[]),
    prefix("builtin", &[]),
    prefix("nohup", &[]),
    prefix("setsid", &[]),
    prefix("nice", &["-n", "--adjustment"]),
    prefix("ionice", &["-c", "--class", "-n", "--classdata"]),
    prefix("stdbuf", &["-i", "-o", "-e"]),
    Prefix { words: 1, ..prefix("timeout", &["-k", "--kill-after", "-s", "--signal"]) },
    Prefix { words: 1, ..prefix("flock", &["-w", "--timeout", "-E"]) },
    prefix(
        "systemd-run",
        &[
            "-u",
            "--unit",
            "-p",
            "--property",
            "-E",
            "--setenv",
            "--working-directory",
            "--description",
            "--slice",
            "--uid",
            "--gid",
            "--nice",
            "--service-type",
        ],
    ),
    prefix("systemd-cat", &["-t", "--identifier", "-p", "--priority"]),
    prefix("systemd-inhibit", &["--what", "--who", "--why", "--mode"]),
];

/// The words without those in front of the command.
pub fn strip(words: &[Word]) -> &[Word] {
    let mut rest = words;
    while let Some(count) = in_front(rest) {
        rest = rest.get(count..).unwrap_or_default();
    }
    rest
}

/// How many words the first prefix has.
fn in_front(words: &[Word]) -> Option<usize> {
    let first = words.first()?.text();
    if KEYWORDS.contains(&first.as_str()) || assignment(&first).is_some() {
        return Some(1);
    }
    let name = first.rsplit('/').next().unwrap_or_default();
    let prefix = PREFIXES.iter().find(|prefix| prefix.name == name)?;
    let mut count = 1;
    while let Some(option) = words.get(count).map(Word::text).filter(|word| word.starts_with('-')) {
        count += if prefix.valued.contains(&option.as_str()) { 2 } else { 1 };
        if option.as_str() == "--" {
            break;
        }
    }
    Some(count + prefix.words)
}

/// The name and the value of `NAME=value`. There is no value if the word changes the variable otherwise:
/// `NAME+=value`, `NAME[1]=value`.
pub fn assignment(word: &str) -> Option<(&str, Option<&str>)> {
    let is_of_name = |character: char| character.is_ascii_alphanumeric() || character == '_';
    let (name, rest) = word.split_at(word.find(|character| !is_of_name(character))?);
    if name.is_empty() || name.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    if let Some(value) = rest.strip_prefix('=') {
        return Some((name, Some(value)));
    }
    let is_changed = rest.starts_with("+=") || rest.starts_with('[') && rest.contains("]=");
    is_changed.then_some((name, None))
}

/// The value that an assignment gives, if that is known.
pub fn assigned(word: &Word, value: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    assignment(&word.expanded(value)?)?.1.map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::userdata::shell;

    #[test]
    fn the_command_is_found_behind_what_runs_it() {
        for front in [
            "",
            "sudo -E ",
            "sudo -u root --preserve-env=A -- ",
            "/usr/bin/sudo A=b ",
            "timeout 300 ",
            "timeout -k 5 --foreground 10m ",
            "nohup ",
            "nice -n 5 ",
            "nice -5 ",
            "ionice -c 3 nice ",
            "env -i PATH=/bin A=b ",
            "exec ",
            "if ! ",
            "A=b C=$d ",
            "flock -x /run/lock ",
            "systemd-run --wait -p A=b --unit x ",
            "systemd-cat -t x ",
        ] {
            let script = shell::read(&format!("{front}kubeadm join a"));
            let words: Vec<String> = strip(&script.commands[0].words)
                .iter()
                .map(|word| word.text().as_str().to_owned())
                .collect();
            assert_eq!(words, ["kubeadm", "join", "a"], "{front}");
        }
    }
}
