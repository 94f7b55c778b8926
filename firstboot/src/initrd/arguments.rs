//! The arguments of the kernel command line that the initrd uses.
//!
//! | argument | meaning |
//! |---|---|
//! | `root=PARTUUID=…` | only this root partition |
//! | `kiln.timeout=SECONDS` | how long to wait for the disk; 30 |
//! | `kiln.on-failure=poweroff\|reboot` | what to do when the machine cannot boot; poweroff |
//! | `init=PATH` | what to start in the real root; `/sbin/init` |

use crate::paths;
use std::time::Duration;

/// The default time to wait for the disk.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// The longest wait that can be set, in seconds.
const LONGEST_TIMEOUT: u64 = 3600;

/// What to do if the machine cannot boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnFailure {
    /// Power the machine off.
    #[default]
    PowerOff,
    /// Reboot, after a pause.
    Reboot,
}

/// The settings on the kernel command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arguments {
    /// The identifier of the root partition, in lower case.
    pub root: Option<String>,
    /// How long to wait for the disk.
    pub timeout: Duration,
    /// What to do on failure.
    pub on_failure: OnFailure,
    /// The init of the real root.
    pub init: String,
    /// An argument that asks for a root where this initrd cannot reach it, and that place.
    pub foreign_root: Option<(String, &'static str)>,
    /// Notices about ignored arguments.
    pub notices: Vec<String>,
}

/// Parses a command line. Wrong values are ignored with a notice, because a wrong argument must not prevent
/// the boot. If an argument occurs several times, the last one counts.
pub fn parse(line: &str) -> Arguments {
    let mut arguments = Arguments {
        root: None,
        timeout: DEFAULT_TIMEOUT,
        on_failure: OnFailure::default(),
        init: paths::INIT.to_owned(),
        foreign_root: None,
        notices: Vec::new(),
    };
    for word in words(line).take_while(|word| word != "--") {
        if let Some(place) = contract::foreign_root(&word) {
            arguments.foreign_root = Some((word, place));
        } else if let Some((key, value)) = word.split_once('=') {
            arguments.take(key, value);
        }
    }
    arguments
}

impl Arguments {
    fn take(&mut self, key: &str, value: &str) {
        let accepted = match key {
            "root" => self.take_root(value),
            "kiln.timeout" => match value.parse::<u64>() {
                Ok(seconds) if seconds <= LONGEST_TIMEOUT => {
                    self.timeout = Duration::from_secs(seconds);
                    true
                }
                _ => false,
            },
            "kiln.on-failure" => match value {
                "poweroff" => self.set_on_failure(OnFailure::PowerOff),
                "reboot" => self.set_on_failure(OnFailure::Reboot),
                _ => false,
            },
            "init" if value.starts_with('/') => {
                self.init = value.to_owned();
                true
            }
            _ => return,
        };
        if !accepted {
            self.notices
                .push(format!("{key}={value} on the kernel command line makes no sense here and is ignored"));
        }
    }

    fn take_root(&mut self, value: &str) -> bool {
        let id = value.strip_prefix("PARTUUID=").filter(|id| !id.is_empty());
        if let Some(id) = id {
            self.root = Some(id.to_ascii_lowercase());
        }
        id.is_some()
    }

    fn set_on_failure(&mut self, action: OnFailure) -> bool {
        self.on_failure = action;
        true
    }
}

/// Splits words like the kernel: at blanks, except between double quotes, which are removed.
fn words(line: &str) -> impl Iterator<Item = String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for character in line.chars() {
        match character {
            '"' => quoted = !quoted,
            blank if blank.is_ascii_whitespace() && !quoted => words.push(String::new()),
            other => words.last_mut().expect("starts with one word").push(other),
        }
    }
    words.into_iter().filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_said_means_the_defaults() {
        let arguments = parse("BOOT_IMAGE=/vmlinuz console=ttyS0 quiet\n");
        assert_eq!(
            (arguments.root, arguments.timeout.as_secs(), arguments.init.as_str()),
            (None, 30, "/sbin/init")
        );
        assert_eq!(arguments.on_failure, OnFailure::PowerOff);
        assert!(arguments.notices.is_empty());
    }

    #[test]
    fn takes_what_is_said_and_the_last_one_wins() {
        let arguments = parse(
            "root=PARTUUID=ABCD kiln.timeout=9 kiln.timeout=5 kiln.on-failure=reboot init=/bin/other ro",
        );
        assert_eq!((arguments.root.as_deref(), arguments.timeout.as_secs()), (Some("abcd"), 5));
        assert_eq!((arguments.on_failure, arguments.init.as_str()), (OnFailure::Reboot, "/bin/other"));
    }

    #[test]
    fn wrong_values_are_ignored_with_a_notice() {
        for wrong in [
            "root=/dev/sda1",
            "root=PARTUUID=",
            "root=",
            "kiln.timeout=",
            "kiln.timeout=-1",
            "kiln.timeout=99999999999999999999999",
            "kiln.timeout=3601",
            "kiln.on-failure=dance",
        ] {
            let arguments = parse(wrong);
            assert_eq!(arguments.notices.len(), 1, "{wrong}");
            assert_eq!(Arguments { notices: Vec::new(), ..arguments }, parse(""), "{wrong}");
        }
    }

    #[test]
    fn a_root_elsewhere_is_kept_to_be_refused() {
        let arguments = parse("root=PARTUUID=a rd.iscsi.initiator=iqn.2026-01.example:node quiet");
        let (argument, place) = arguments.foreign_root.unwrap();
        assert_eq!(
            (argument.as_str(), place),
            ("rd.iscsi.initiator=iqn.2026-01.example:node", "an iSCSI disk")
        );
    }

    #[test]
    fn quotes_hide_blanks_and_two_dashes_end_it() {
        let arguments = parse("x=\"a kiln.timeout=1 b\" \"kiln.timeout=7\" -- kiln.timeout=2");
        assert_eq!(arguments.timeout.as_secs(), 7);
        assert_eq!(parse("\"kiln.timeout=4").timeout.as_secs(), 4, "an open quote ends with the line");
        parse("= == \0 \u{fffd}= \"\"\"\"");
    }
}
