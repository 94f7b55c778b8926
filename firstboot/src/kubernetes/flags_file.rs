//! `/var/lib/kubelet/kubeadm-flags.env`: one variable with the kubelet's arguments.
//!
//! systemd reads the file (`EnvironmentFile=`), splits the variable at white space and removes quotes. A
//! service script sources the file with sh, and OpenRC evaluates the variable once more. All of them get the
//! same words: nothing in the file is run or filled in. Usual values are written as kubeadm writes them.

/// The characters besides single quotes that systemd's splitting, or a shell that evaluates, would not keep.
const SPECIAL: &str = " \"\\$`";
/// Further ones where a shell evaluates the variable.
const SPECIAL_TO_SHELL: &str = "|&;<>()*?[]{}#~!";
const WILDCARDS: &[char] = &['*', '?', '['];

/// What to do about an argument that cannot be written.
pub const HELP: &str = "leave out control characters, and single quotes beside other special characters; or set it \
                        in the KubeletConfiguration";

/// The argument `--name=value` as it is written into the variable, see [`word`].
pub fn argument(name: &str, value: &str, is_evaluated: bool) -> Option<String> {
    word(&format!("--{name}={value}"), is_evaluated)
}

/// One argument as it is written into the variable; none if nothing that can be written gives this text.
/// Paired single quotes are meant to be removed: templates for kubeadm write `openstack:///'ID'`.
fn word(text: &str, is_evaluated: bool) -> Option<String> {
    let is_special =
        |letter: char| SPECIAL.contains(letter) || is_evaluated && SPECIAL_TO_SHELL.contains(letter);
    // Before it evaluates, a shell splits the variable at blanks and expands wildcards.
    let is_split = is_evaluated && text.contains(' ') && (text.contains("  ") || text.contains(WILDCARDS));
    if is_split || text.chars().any(|letter| letter != ' ' && !is_visible(letter)) {
        return None;
    }
    let mut outside = text.split('\'').step_by(2);
    let is_paired = text.matches('\'').count().is_multiple_of(2);
    match is_paired && !outside.any(|part| part.contains(is_special)) {
        true => Some(text.to_owned()),
        false => (!text.contains('\'')).then(|| format!("'{text}'")),
    }
}

/// The file with these words.
pub fn file(words: &[String]) -> String {
    let mut text = String::from("KUBELET_KUBEADM_ARGS=\"");
    for letter in words.join(" ").chars() {
        if "\"\\$`".contains(letter) {
            text.push('\\');
        }
        text.push(letter);
    }
    text + "\"\n"
}

/// The words of such a file, as systemd reads them; none if it is another one.
#[cfg(any(windows, test))]
pub fn words(text: &str) -> Option<Vec<String>> {
    let quoted = text.lines().find_map(|line| line.strip_prefix("KUBELET_KUBEADM_ARGS="))?;
    let quoted = quoted.trim().strip_prefix('"')?.strip_suffix('"')?;
    let (mut words, mut word) = (Vec::new(), None::<String>);
    let (mut letters, mut is_quoted) = (quoted.chars(), false);
    while let Some(letter) = letters.next() {
        match letter {
            '\'' => {
                is_quoted = !is_quoted;
                word.get_or_insert_default();
            }
            ' ' if !is_quoted => words.extend(word.take()),
            '\\' => word.get_or_insert_default().push(letters.next()?),
            letter => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    Some(words)
}

/// Whether Go's `%q`, with which kubeadm writes the file, leaves it as it is.
fn is_visible(letter: char) -> bool {
    let is_printed = || letter.escape_debug().count() == 1 || "\"'\\".contains(letter);
    !letter.is_whitespace() && !letter.is_control() && is_printed()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    const HOSTILE: &[&str] = &[
        "--x=$(touch canary)`touch canary`${PATH}$HOME$",
        "--x= a b c ",
        "--x=\"a\" \\\"b\\",
        "--x=a;touch canary",
        "--x=a|b&c>canary<d",
        "--x=(a)[b]{c,d}*?#~!",
        "--x=(a) {c,d} # ~ !",
        "--x=\u{e4}\u{4e2d}",
        "--x=memory.available<5%",
        "--provider-id=azure:///subscriptions/s/resourceGroups/a(b)/vm",
        "--x=",
    ];

    fn shell(script: &str, file: &str) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("kubeadm-flags.env"), file).unwrap();
        let output = Command::new("sh").args(["-c", script]).current_dir(folder.path()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "something was run: {file}");
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    }

    /// The words that systemd makes of a variable's text (systemd.service(5), "Command lines"), for texts
    /// without double quotes and backslashes outside of single quotes.
    fn split_by_systemd(text: &str) -> Vec<String> {
        let (mut words, mut is_quoted) = (vec![String::new()], false);
        for letter in text.chars() {
            match letter {
                '\'' => is_quoted = !is_quoted,
                ' ' if !is_quoted => words.push(String::new()),
                '"' | '\\' if !is_quoted => panic!("{text}"),
                letter => words.last_mut().unwrap().push(letter),
            }
        }
        words
    }

    #[test]
    fn a_shell_and_systemd_read_the_words_that_were_meant() {
        for is_evaluated in [false, true] {
            let written: Vec<String> = HOSTILE.iter().map(|text| word(text, is_evaluated).unwrap()).collect();
            let file = file(&written);
            let sourced = shell(". ./kubeadm-flags.env; printf '%s\\n' \"$KUBELET_KUBEADM_ARGS\"", &file);
            assert_eq!(sourced, [written.join(" ")], "the variable is the same for systemd and sh");
            assert_eq!(split_by_systemd(&sourced[0]), HOSTILE);
            assert_eq!(words(&file).unwrap(), HOSTILE);
            if is_evaluated {
                let script = ". ./kubeadm-flags.env; eval printf \"'%s\\n'\" $KUBELET_KUBEADM_ARGS";
                assert_eq!(shell(script, &file), HOSTILE);
            }
        }
    }

    #[test]
    fn what_cannot_be_written_is_refused_and_usual_values_stay() {
        for text in ["a\nb", "a\tb", "a\0", "a\u{a0}b", "it's", "'a' $b", "a\u{202e}b", "a\u{2028}b"] {
            assert_eq!(word(text, false), None, "{text:?}");
        }
        for text in ["--a=b,c=d", "openstack:///'5f0e7a52'", "--a='b c'", "memory.available<5%", "é"] {
            assert_eq!(word(text, false).as_deref(), Some(text));
        }
        for text in ["a  b", "a *", "a ? b", "[ab] c"] {
            assert_eq!(word(text, true), None, "{text:?}");
            assert!(word(text, false).is_some(), "{text:?}");
        }
        assert_eq!(word("memory.available<5%", true).as_deref(), Some("'memory.available<5%'"));
    }
}
