//! The tests of an image, on a machine that has booted it: what is put into the machine, and what comes back.
//!
//! A unit and a script go into the machine's own `/var`, from which its `/etc` takes them, so nothing of the
//! image is changed and every init of ours runs them. The results come back through a port of their own
//! (virtio-serial), which no message of the kernel interrupts:
//!
//! ```text
//! begin NUMBER
//! end NUMBER EXIT-CODE BASE64-OF-WHAT-IT-SAID
//! done
//! ```

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use contract::ETC_UPPER;

use crate::definition::plan::TestPlan;
use crate::tree::{Body, Entry, Tree};

/// The name of the port in the machine.
pub const PORT: &str = "kiln.test";

const UNIT: &str = "kiln-test.service";
const SCRIPT: &str = "kiln-test.sh";
const FUNCTIONS: &str = include_str!("inside.sh");

/// What goes into the file system of `/var`.
pub fn files(tests: &[TestPlan]) -> Tree {
    let unit = format!(
        "[Unit]\nDescription=The tests of this image\nDefaultDependencies=no\nAfter=multi-user.target\n\
         [Service]\nType=exec\nExecStart=/bin/sh /etc/{SCRIPT}\n"
    );
    let mut tree = Tree::default();
    tree.insert(
        format!("{ETC_UPPER}/{SCRIPT}"),
        Entry::file(Body::inline(script(tests).into_bytes()), 0o600),
    );
    let units = format!("{ETC_UPPER}/systemd/system");
    tree.insert(format!("{units}/{UNIT}"), Entry::file(Body::inline(unit.into_bytes()), 0o644));
    tree.insert(
        format!("{units}/multi-user.target.wants/{UNIT}"),
        Entry::symlink(format!("/etc/systemd/system/{UNIT}")),
    );
    tree.complete();
    tree
}

fn script(tests: &[TestPlan]) -> String {
    let mut script = FUNCTIONS.to_owned();
    for (number, test) in tests.iter().enumerate() {
        let text = test.expect.as_ref().map(|text| format!("={text}")).unwrap_or_default();
        let _ = write!(script, "test_one {number} {} {} ", test.exit, quoted(&text));
        let _ = write!(script, "{} {}", test.within, test.timeout);
        test.run.iter().for_each(|word| {
            let _ = write!(script, " {}", quoted(word));
        });
        script.push('\n');
    }
    script + "echo done >&3\n"
}

/// A word that the shell takes as it is.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// What the machine says of a test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// It begins.
    Begin(usize),
    /// It has ended.
    End(usize, Ended),
    /// There are no more.
    Done,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Its exit code; 124 when its time was up, 127 when there is no such command.
    pub exit: u8,
    /// The beginning of what it said.
    pub said: String,
}

/// A line from the port; none when it is none of ours.
pub fn line(line: &str) -> Option<Said> {
    let mut words = line.trim_end_matches(['\r', '\n']).split(' ');
    let said = match words.next()? {
        "begin" => Said::Begin(words.next()?.parse().ok()?),
        "end" => {
            let (number, exit) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
            let bytes = STANDARD.decode(words.next()?).ok()?;
            Said::End(number, Ended { exit, said: String::from_utf8_lossy(&bytes).into_owned() })
        }
        "done" => Said::Done,
        _ => return None,
    };
    words.next().is_none().then_some(said)
}

/// Why a test did not pass; none when it did.
pub fn failure(test: &TestPlan, ended: &Ended) -> Option<String> {
    const ENDS: [(u8, &str); 3] =
        [(124, "its time was up"), (126, "the command cannot be run"), (127, "there is no such command")];
    if ended.exit != test.exit {
        let why = ENDS.iter().find(|(code, _)| *code == ended.exit).map(|(_, why)| format!(" ({why})"));
        let why = why.unwrap_or_default();
        return Some(format!("exit code {}{why} instead of {}", ended.exit, test.exit));
    }
    let text = test.expect.as_ref().filter(|text| !ended.said.contains(text.as_str()))?;
    Some(format!("it did not say {text:?}"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::process::Command;

    use super::*;

    fn test(run: &[&str], expect: Option<&str>) -> TestPlan {
        TestPlan {
            name: run.join(" "),
            run: run.iter().map(|word| (*word).to_owned()).collect(),
            expect: expect.map(str::to_owned),
            exit: 0,
            within: 0,
            timeout: 5,
        }
    }

    /// Numbers of tests that have begun and not ended.
    fn unfinished(said: &[Said]) -> BTreeSet<usize> {
        let mut numbers = BTreeSet::new();
        for one in said {
            match one {
                Said::Begin(number) => drop(numbers.insert(*number)),
                Said::End(number, _) => drop(numbers.remove(number)),
                Said::Done => {}
            }
        }
        numbers
    }

    /// Runs the script here, with a file as the port.
    fn run(tests: &[TestPlan]) -> Vec<Said> {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        fs::write(path("port"), "").unwrap();
        let script = script(tests)
            .replace("/dev/virtio-ports/kiln.test", &path("port"))
            .replace("/run/", &format!("{}/", folder.path().display()));
        let output = Command::new("sh").arg("-c").arg(script).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let text = fs::read_to_string(path("port")).unwrap();
        text.lines().map(|each| line(each).unwrap()).collect()
    }

    #[test]
    fn commands_get_their_words_as_they_are_and_what_they_say_comes_back() {
        let tests = [
            test(&["printf", "%s|", "a b", "it's", "$HOME", "\"", "`x`"], None),
            test(&["sh", "-c", "echo out; echo error >&2; exit 3"], None),
            test(&["no-such-command"], None),
            TestPlan { timeout: 1, ..test(&["sleep", "9"], None) },
            test(&["sh", "-c", "head -c 9000000 /dev/zero; exit 0"], None),
        ];
        let said = run(&tests);
        assert_eq!((said.len(), said.last()), (tests.len() * 2 + 1, Some(&Said::Done)));
        let ended: Vec<&Ended> = said
            .iter()
            .filter_map(|one| if let Said::End(_, ended) = one { Some(ended) } else { None })
            .collect();
        assert_eq!(ended[0], &Ended { exit: 0, said: "a b|it's|$HOME|\"|`x`|".to_owned() });
        assert_eq!(ended[1], &Ended { exit: 3, said: "out\nerror\n".to_owned() });
        assert_eq!((ended[2].exit, ended[3].exit), (127, 124));
        assert_eq!((ended[4].exit, ended[4].said.len()), (0, 65536), "a long answer is no failure");
        assert!(unfinished(&said).is_empty());
    }

    #[test]
    fn a_test_is_tried_again_until_its_text_comes() {
        let folder = tempfile::tempdir().unwrap();
        let counted = format!("echo x >>{0}; wc -l <{0}", folder.path().join("count").display());
        let patient = TestPlan { within: 20, ..test(&["sh", "-c", &counted], Some("3")) };
        let said = run(&[patient]);
        assert_eq!(said[1], Said::End(0, Ended { exit: 0, said: "3\n".to_owned() }));
        let impatient = run(&[test(&["echo", "-n", "-e"], Some("-f"))]);
        assert!(matches!(&impatient[1], Said::End(0, ended) if ended.exit == 0));
    }

    #[test]
    fn a_verdict_names_what_is_wrong() {
        let ended = |exit, said: &str| Ended { exit, said: said.to_owned() };
        let plan = test(&["x"], Some("active"));
        assert_eq!(failure(&plan, &ended(0, "is active\n")), None);
        assert_eq!(failure(&plan, &ended(0, "failed")).unwrap(), "it did not say \"active\"");
        let missing = failure(&plan, &ended(127, "")).unwrap();
        assert_eq!(missing, "exit code 127 (there is no such command) instead of 0");
    }

    #[test]
    fn lines_of_others_are_passed_over() {
        for wrong in ["", "end 1", "end x 0 YQ==", "end 1 0 ?", "end 1 999 YQ==", "begin", "done 1", "hello"]
        {
            assert_eq!(line(wrong), None, "{wrong}");
        }
        assert_eq!(line("end 1 0 \r\n"), Some(Said::End(1, Ended { exit: 0, said: String::new() })));
    }

    #[test]
    fn the_unit_comes_after_everything_else_and_the_script_is_for_root_alone() {
        let tree = files(&[test(&["true"], None)]);
        assert_eq!(tree.get(&format!("{ETC_UPPER}/{SCRIPT}")).unwrap().mode, 0o600);
        let unit = tree.file(&format!("{ETC_UPPER}/systemd/system/{UNIT}")).unwrap().read().unwrap();
        assert!(String::from_utf8(unit).unwrap().contains("After=multi-user.target\n"));
    }
}
