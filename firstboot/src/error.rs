//! One error type: what failed, on what, what to do next. Its kind is the exit code and the word that
//! machines read.

use std::fmt;
use std::io;

use crate::output::clean;

/// Why the agent stopped. The numbers 1 to 3 are kubeadm's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// A defect of the agent.
    Internal,
    /// A preflight check failed.
    Preflight,
    /// The node config, or what it names, is wrong.
    Config,
    /// A source of metadata could not be read.
    Source,
    /// No answer from the API server: address, name, route, time-out, or it answers with errors of its own
    /// (429, 5xx).
    Unreachable,
    /// The API server is not the one that the config trusts: pin, signature, certificate.
    Untrusted,
    /// The bootstrap token is unknown, expired, or may not do what a join needs.
    Credential,
    /// The cluster says no: certificate denied, node name taken, version too far apart.
    Refused,
    /// The certificate was not approved in time.
    Pending,
    /// The clock of this machine contradicts the certificates.
    Clock,
    /// The machine itself: disk full, read-only file system, a service that does not start.
    Host,
    /// The container runtime does not answer.
    Runtime,
    /// The kubelet does not become healthy.
    Kubelet,
    /// The command line.
    Usage,
}

/// Every kind with its exit code and its word, in the order of the documentation.
pub const KINDS: &[(ErrorKind, u8, &str)] = &[
    (ErrorKind::Internal, 1, "internal"),
    (ErrorKind::Preflight, 2, "preflight"),
    (ErrorKind::Config, 3, "config"),
    (ErrorKind::Source, 10, "source"),
    (ErrorKind::Unreachable, 11, "unreachable"),
    (ErrorKind::Untrusted, 12, "untrusted"),
    (ErrorKind::Credential, 13, "credential"),
    (ErrorKind::Refused, 14, "refused"),
    (ErrorKind::Pending, 15, "pending"),
    (ErrorKind::Clock, 16, "clock"),
    (ErrorKind::Host, 17, "host"),
    (ErrorKind::Runtime, 18, "runtime"),
    (ErrorKind::Kubelet, 19, "kubelet"),
    (ErrorKind::Usage, 64, "usage"),
];

impl ErrorKind {
    fn row(self) -> &'static (ErrorKind, u8, &'static str) {
        KINDS.iter().find(|row| row.0 == self).unwrap_or(&KINDS[0])
    }

    /// The exit code.
    pub fn exit_code(self) -> u8 {
        self.row().1
    }

    /// Whether trying again cannot help. Units of systemd list the codes of these kinds.
    #[cfg(any(windows, test))]
    pub fn is_final(self) -> bool {
        use ErrorKind::{Config, Credential, Host, Internal, Preflight, Refused, Untrusted, Usage};
        matches!(self, Internal | Preflight | Config | Untrusted | Credential | Refused | Host | Usage)
    }

    /// The word in machine-readable output.
    pub fn word(self) -> &'static str {
        self.row().2
    }
}

/// A failure: what was being done, on what, and what to do next. Never holds a secret: those that exist when
/// it is made are taken out of its texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The kind of failure.
    pub kind: ErrorKind,
    /// One sentence: what failed, on what, why.
    pub message: String,
    /// What to do next.
    pub help: Option<String>,
    /// Whether the same attempt may succeed later.
    pub transient: bool,
    /// What was noticed before it, which may be its cause: a misspelled field, a part that was ignored.
    pub warnings: Box<[String]>,
}

/// A result with a [`Failure`].
pub type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    /// A failure that trying again will not mend.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        let message = clean(&message.into());
        Self { kind, message, help: None, transient: false, warnings: Box::default() }
    }

    /// The same with advice.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(clean(&help.into()));
        self
    }

    /// The same, but trying again may succeed.
    #[must_use]
    pub fn transient(mut self) -> Self {
        self.transient = true;
        self
    }

    /// The same, after these warnings.
    #[must_use]
    pub fn after(mut self, warnings: &[String]) -> Self {
        let earlier = warnings.iter().map(|warning| clean(warning));
        self.warnings = earlier.chain(self.warnings).collect();
        self
    }

    /// The same with what was being done in front.
    #[must_use]
    pub fn doing(mut self, doing: impl fmt::Display) -> Self {
        self.message = format!("{}: {}", clean(&doing.to_string()), self.message);
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// Says what was being done when an operation of the host failed.
pub trait Context<T> {
    /// Turns an error of the operating system into a [`ErrorKind::Host`] failure:
    /// `writing /etc/kubernetes/kubelet.conf: No space left on device`.
    fn doing(self, doing: impl fmt::Display) -> Result<T>;
}

impl<T> Context<T> for io::Result<T> {
    fn doing(self, doing: impl fmt::Display) -> Result<T> {
        self.map_err(|error| of_host(&doing, &error))
    }
}

#[cfg(target_os = "linux")]
impl<T> Context<T> for nix::Result<T> {
    fn doing(self, doing: impl fmt::Display) -> Result<T> {
        self.map_err(io::Error::from).doing(doing)
    }
}

/// Help where a disk is full.
const MAKE_ROOM: &str = "make room on this file system, or give the machine a larger disk";

fn of_host(doing: &dyn fmt::Display, error: &io::Error) -> Failure {
    let failure = Failure::new(ErrorKind::Host, format!("{doing}: {}", plain(error)));
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => failure.help(MAKE_ROOM),
        _ => failure,
    }
}

/// The error's text without Rust's `(os error 28)`.
pub(crate) fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_code_and_a_word_of_its_own() {
        for (position, (kind, code, word)) in KINDS.iter().enumerate() {
            assert_eq!((kind.exit_code(), kind.word()), (*code, *word));
            assert!(KINDS[..position].iter().all(|(_, other, text)| other != code && text != word), "{word}");
        }
    }

    #[test]
    fn no_secret_that_a_server_repeats_is_in_a_failure() {
        let token = crate::secret::Secret::new("2vr73c.c8uxyaju799qwdjx".to_owned());
        let said = format!("403: Bearer {} is forbidden", token.reveal());
        let failure = Failure::new(ErrorKind::Refused, &said).help(&said).doing(&said);
        assert!(!format!("{failure:?}").contains("c8uxyaju799qwdjx"), "{failure:?}");
        assert!(failure.message.ends_with("403: Bearer [secret] is forbidden"), "{failure}");
    }

    #[test]
    fn errors_of_the_host_say_what_was_being_done() {
        let failure = Err::<(), _>(io::Error::from_raw_os_error(28)).doing("writing /x").unwrap_err();
        assert_eq!(failure.message, "writing /x: No space left on device");
        assert_eq!((failure.kind, failure.help.as_deref()), (ErrorKind::Host, Some(MAKE_ROOM)));
        let other = Err::<(), _>(io::Error::from_raw_os_error(13)).doing("writing /x").unwrap_err();
        assert_eq!(other.help, None);
    }

    /// The value of a line that both units of the agent have.
    fn in_unit(name: &str) -> String {
        let units = [
            include_str!("../../layers/firstboot/firstboot.service"),
            include_str!("../../layers/firstboot/firstboot-install.service"),
        ];
        let value =
            |unit: &'static str| unit.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        let [run, install] = units.map(|unit| value(unit).unwrap_or_else(|| panic!("a unit has no {name}")));
        assert_eq!(run, install);
        run.to_owned()
    }

    #[test]
    fn the_unit_tries_again_what_the_documentation_says_and_its_pauses_grow() {
        let page = include_str!("../../docs/firstboot.md");
        let final_codes = in_unit("RestartPreventExitStatus");
        for (kind, code, word) in KINDS {
            let row = page.lines().find(|line| line.starts_with(&format!("| {code} | {word} |")));
            let is_tried_again = row.unwrap_or_else(|| panic!("no row for {word}")).ends_with("| yes |");
            let is_final = final_codes.split(' ').any(|other| other == code.to_string());
            assert_ne!(is_tried_again, is_final, "{word}");
            assert_eq!(kind.is_final(), is_final, "{word}");
        }
        let number = |name| in_unit(name).parse::<u32>().unwrap();
        assert!(number("RestartMaxDelaySec") > number("RestartSec") && number("RestartSteps") > 0);
    }
}
