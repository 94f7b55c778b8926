//! Commands that give a shell or a login to everybody at a console.

use super::text::{name_of, words};

const SHELL_NAMES: &[&str] = &[
    "sh", "ash", "bash", "busybox", "csh", "dash", "fish", "ksh", "mksh", "rbash", "runuser", "su",
    "sulogin", "tcsh", "zsh",
];

/// Programs that run the program that follows.
const WRAPPERS: &[&str] = &[
    "chroot", "env", "ionice", "nice", "nohup", "nsenter", "openvt", "script", "setpriv", "setsid", "stdbuf",
    "sudo", "timeout", "unshare",
];

/// Options of agetty(8) with an argument.
const WITH_ARGUMENT: &str = "aCdfHIloPrt";

/// Whether the command starts a shell, or a login that asks for nothing.
pub(super) fn is_shell(command: &[String]) -> bool {
    let is_name = |word: &String| SHELL_NAMES.contains(&name_of(word));
    match program(command) {
        program if SHELL_NAMES.contains(&program) => true,
        program if WRAPPERS.contains(&program) => command.iter().skip(1).any(is_name),
        _ => false,
    }
}

/// Whether the command logs somebody in without asking.
pub(super) fn logs_in(command: &[String]) -> bool {
    let program = program(command);
    let arguments = command.get(1..).unwrap_or_default();
    if program == "login" {
        return is_trusted(arguments);
    }
    program.ends_with("getty") && options(arguments).iter().any(opens)
}

/// A word `SYSTEMD_SULOGIN_FORCE=yes`, with which sulogin(8) asks for nothing.
pub(super) fn is_forced(word: &str) -> bool {
    let value = word.strip_prefix("SYSTEMD_SULOGIN_FORCE=");
    value.is_some_and(|value| !["", "0", "no", "n", "false", "f", "off"].contains(&value))
}

/// The name of the program, behind the marks of systemd.service(5).
fn program(command: &[String]) -> &str {
    let first = command.first().map_or("", String::as_str);
    name_of(first.trim_start_matches(['-', '@', '+', '!', ':', '|']))
}

/// login(1): `-f` logs in who needs no password.
fn is_trusted(arguments: &[String]) -> bool {
    arguments.iter().take_while(|word| *word != "--").any(|word| word.starts_with("-f"))
}

/// Whether an option of agetty(8) opens a console, by its letter and argument.
fn opens((letter, argument): &(char, String)) -> bool {
    match letter {
        'a' => true,
        'l' => SHELL_NAMES.contains(&name_of(argument)),
        'o' => is_trusted(&words(argument)),
        _ => false,
    }
}

/// The options as letters with their arguments. Long ones may be shortened.
fn options(arguments: &[String]) -> Vec<(char, String)> {
    const LONG: [(&str, char); 3] = [("autologin", 'a'), ("login-program", 'l'), ("login-options", 'o')];
    let mut options = Vec::new();
    let mut rest = arguments.iter();
    while let Some(word) = rest.next() {
        if let Some(long) = word.strip_prefix("--") {
            let (name, value) =
                long.split_once('=').map_or((long, None), |(name, value)| (name, Some(value)));
            let known = LONG.iter().find(|(own, _)| !name.is_empty() && own.starts_with(name));
            let Some((_, letter)) = known else { continue };
            let value = value.map_or_else(|| rest.next().cloned(), |value| Some(value.to_owned()));
            options.push((*letter, value.unwrap_or_default()));
        } else if let Some(letters) = word.strip_prefix('-') {
            for (at, letter) in letters.char_indices() {
                let behind = &letters[at + letter.len_utf8()..];
                if !WITH_ARGUMENT.contains(letter) {
                    continue;
                }
                let own = Some(behind.to_owned()).filter(|behind| !behind.is_empty());
                options.push((letter, own.or_else(|| rest.next().cloned()).unwrap_or_default()));
                break;
            }
        }
    }
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_getty_that_asks_is_none_that_logs_in() {
        for (command, wanted) in [
            ("-/sbin/agetty -o '-p -- \\\\u' --noclear - $TERM", false),
            ("-/sbin/agetty -o '-- \\\\u' --noclear --keep-baud 115200,57600 - $TERM", false),
            ("-/sbin/agetty -Jaroot - $TERM", true),
            ("-/sbin/agetty --auto=root - $TERM", true),
            ("-/sbin/agetty -n -l /bin/bash tty9", true),
            ("-/sbin/agetty -o '-f root' tty9", true),
            ("/bin/login -f root", true),
            ("/bin/login -p -- -f", false),
        ] {
            assert_eq!(logs_in(&words(command)), wanted, "{command}");
        }
        assert!(is_shell(&words("-/usr/bin/env -i PATH=/bin bash")));
        assert!(!is_shell(&words("/usr/bin/env python3 /usr/bin/x")));
    }
}
