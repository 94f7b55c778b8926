//! Faults, by name. A fault is a row of [`SCRIPTS`]. It works on any platform, and several can be combined.
//!
//! `NAME`, `NAME=NUMBER` or `NAME=always`. With `@PATH` only requests for that path meet the fault, with
//! `@*END` only those for paths with that end. The number says how many requests meet the fault before the
//! service recovers, and for `late` how many seconds.

use std::fmt;
use std::str::FromStr;

use contract::suggest::did_you_mean;
use serde::Serialize;

use self::Ends::{Denied, Malformed, Somehow, Succeeds, Unreachable};
use self::Number::{Always, Requests, Seconds};
use crate::error::Error;
use crate::platform::{Form, Platform};

/// A fault that a user can choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Script {
    /// Its name.
    pub name: &'static str,
    /// A summary for users.
    pub summary: &'static str,
    /// The action.
    pub act: Act,
    /// The meaning and default of the number in `NAME=NUMBER`.
    pub number: Number,
    /// How a client must end if the fault passes.
    pub passing: Ends,
    /// How a client must end if the fault does not pass.
    pub lasting: Ends,
    /// What the fault requires.
    pub needs: Needs,
}

/// The action on a request or a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Nothing.
    Nothing,
    /// Connections are refused for some seconds.
    Late,
    /// Connections are refused.
    Refuse,
    /// There is no route to the address.
    NoRoute,
    /// Packets are dropped.
    BlackHole,
    /// A status instead of the answer, with an optional Retry-After in seconds.
    Status(u16, Option<u8>),
    /// All tokens become invalid.
    Withdraw,
    /// There is no answer to the request.
    Stall,
    /// The answer in small pieces: this many bytes every this many milliseconds.
    Pieces(u16, u16),
    /// The connection ends before the body is complete.
    Truncate,
    /// The connection is reset.
    Reset,
    /// A redirect to [`TRAP`] on the same host.
    Redirect,
    /// An HTML page with status 200.
    Html,
    /// An endless body.
    Endless,
    /// Control characters in every value.
    Controls,
    /// JSON that is nested too deep.
    Nested,
    /// Bytes that are not UTF-8 in every value.
    Garbled,
    /// Thousands of headers.
    ManyHeaders,
    /// A Content-Length that no machine can store.
    AbsurdLength,
    /// Status 200 and an empty body.
    Empty,
    /// The greeting of another protocol.
    OtherProtocol,
    /// The answer in chunks.
    Chunked,
    /// An HTTP/1.0 answer, which ends with the connection.
    Old,
}

impl Act {
    /// The status that replaces the answer's own.
    pub fn status(self) -> Option<u16> {
        match self {
            Self::Status(status, _) => Some(status),
            Self::Redirect => Some(302),
            _ => None,
        }
    }
}

/// The target of redirects. It serves a document that no client may use.
pub const TRAP: &str = "/kiln-simulator-trap";

/// The meaning of a fault's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Number {
    /// The fault has no number.
    None,
    /// How many requests meet the fault; this is the default.
    Requests(u32),
    /// How many requests meet the fault; the default is all.
    Always,
    /// How many seconds the fault lasts; this is the default.
    Seconds(u32),
}

/// How a client must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ends {
    /// With the documents.
    Succeeds,
    /// With an error that the service is unreachable or does not work, at the client's own deadline.
    Unreachable,
    /// With an error that the service refuses, without further attempts.
    Denied,
    /// With an error that the answer is invalid.
    Malformed,
    /// Either with the documents or with an error, in time and without repeating any of the answer.
    Somehow,
}

/// What a fault requires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Nothing.
    Nothing,
    /// A platform that issues tokens.
    Tokens,
    /// A platform with JSON documents.
    Json,
    /// The platform's own addresses in a network namespace.
    Namespace,
}

/// The seconds that a client may take if there is nothing to wait for.
pub const AT_ONCE: u32 = 3;

/// The seconds that a client may take for a fault that passes.
pub const AFTER_RETRIES: u32 = 20;

const fn script(
    name: &'static str,
    act: Act,
    number: Number,
    passing: Ends,
    lasting: Ends,
    summary: &'static str,
) -> Script {
    Script { name, summary, act, number, passing, lasting, needs: Needs::Nothing }
}

const fn needing(needs: Needs, script: Script) -> Script {
    Script { needs, ..script }
}

/// All faults.
pub const SCRIPTS: &[Script] = &[
    script("none", Act::Nothing, Number::None, Succeeds, Succeeds, "all is well"),
    script(
        "late",
        Act::Late,
        Seconds(2),
        Succeeds,
        Succeeds,
        "connections are refused for the first seconds",
    ),
    script("refused", Act::Refuse, Number::None, Unreachable, Unreachable, "connections are refused"),
    needing(
        Needs::Namespace,
        script(
            "unreachable",
            Act::NoRoute,
            Number::None,
            Unreachable,
            Unreachable,
            "there is no route to the service",
        ),
    ),
    needing(
        Needs::Namespace,
        script(
            "black-hole",
            Act::BlackHole,
            Number::None,
            Unreachable,
            Unreachable,
            "packets to the service vanish",
        ),
    ),
    script(
        "not-found-then-ok",
        Act::Status(404, None),
        Requests(3),
        Succeeds,
        Unreachable,
        "404, then all is well",
    ),
    script("not-found", Act::Status(404, None), Always, Succeeds, Unreachable, "404 for everything"),
    needing(
        Needs::Tokens,
        script(
            "token-expired",
            Act::Withdraw,
            Requests(1),
            Succeeds,
            Unreachable,
            "a good token is refused with 401 until a new one is fetched",
        ),
    ),
    script("unauthorized", Act::Status(401, None), Always, Somehow, Denied, "401 for everything"),
    script(
        "wrong-instance",
        Act::Status(403, None),
        Always,
        Somehow,
        Denied,
        "403 for everything: the service is off, or not for this machine",
    ),
    script(
        "throttled",
        Act::Status(429, Some(1)),
        Requests(2),
        Succeeds,
        Unreachable,
        "429 with Retry-After: 1, then all is well",
    ),
    script(
        "overloaded",
        Act::Status(503, Some(1)),
        Requests(2),
        Succeeds,
        Unreachable,
        "503 with Retry-After: 1, then all is well",
    ),
    script(
        "server-error",
        Act::Status(500, None),
        Requests(3),
        Succeeds,
        Unreachable,
        "500, then all is well",
    ),
    script("broken", Act::Status(500, None), Always, Succeeds, Unreachable, "500 for everything"),
    script("stall", Act::Stall, Always, Succeeds, Unreachable, "requests are taken and never answered"),
    script("slow", Act::Pieces(64, 5), Always, Succeeds, Succeeds, "answers come in small pieces"),
    script("drip", Act::Pieces(1, 1000), Always, Succeeds, Unreachable, "answers come a byte each second"),
    script(
        "truncated",
        Act::Truncate,
        Always,
        Succeeds,
        Unreachable,
        "the connection ends before the body does",
    ),
    script("reset", Act::Reset, Always, Succeeds, Unreachable, "connections are reset after the request"),
    script(
        "redirect",
        Act::Redirect,
        Always,
        Somehow,
        Malformed,
        "302 to elsewhere, which must not be followed",
    ),
    script(
        "wrong-type",
        Act::Html,
        Always,
        Somehow,
        Malformed,
        "200 with a page of HTML, as from a captive portal",
    ),
    script("huge", Act::Endless, Always, Somehow, Malformed, "bodies do not end"),
    script(
        "hostile-text",
        Act::Controls,
        Always,
        Somehow,
        Somehow,
        "control characters and line breaks in every value",
    ),
    needing(
        Needs::Json,
        script(
            "hostile-nesting",
            Act::Nested,
            Always,
            Somehow,
            Malformed,
            "JSON nested a hundred thousand levels deep",
        ),
    ),
    script(
        "hostile-bytes",
        Act::Garbled,
        Always,
        Somehow,
        Somehow,
        "bytes that are not UTF-8 in every value",
    ),
    script(
        "hostile-headers",
        Act::ManyHeaders,
        Always,
        Somehow,
        Somehow,
        "ten thousand headers before the answer",
    ),
    script(
        "hostile-length",
        Act::AbsurdLength,
        Always,
        Somehow,
        Malformed,
        "a Content-Length beyond all numbers",
    ),
    script("empty", Act::Empty, Always, Somehow, Malformed, "200 with nothing in it"),
    script("not-http", Act::OtherProtocol, Always, Somehow, Malformed, "the greeting of another protocol"),
    script("chunked", Act::Chunked, Always, Succeeds, Succeeds, "answers come in chunks"),
    script(
        "old",
        Act::Old,
        Always,
        Succeeds,
        Succeeds,
        "answers of HTTP/1.0, ended by the end of the connection",
    ),
];

/// A fault with its number and path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// A summary for users.
    pub script: &'static Script,
    /// How many requests meet the fault; `None` for all. For `late`, the seconds.
    pub number: Option<u32>,
    /// The only path whose requests meet the fault; a `*` at its start matches anything.
    pub path: Option<String>,
}

impl Fault {
    /// The fault of that name.
    pub fn named(name: &str) -> Result<Self, Error> {
        name.parse()
    }

    /// Checks that the fault is possible on this platform. `in_namespace` says that the platform's own
    /// addresses exist.
    pub fn applies(&self, platform: &Platform, in_namespace: bool) -> bool {
        let has_network = !platform.services.is_empty();
        match self.script.needs {
            Needs::Nothing => has_network || self.script.act == Act::Nothing,
            Needs::Tokens => platform.has_tokens(),
            Needs::Json => platform.speaks == Form::Json && has_network,
            Needs::Namespace => in_namespace && has_network,
        }
    }

    /// Whether requests for `path` meet the fault.
    pub fn concerns(&self, path: &str) -> bool {
        match self.path.as_deref() {
            None => true,
            Some(wanted) => wanted.strip_prefix('*').map_or(wanted == path, |end| path.ends_with(end)),
        }
    }

    /// How a client must end.
    pub fn ends(&self) -> Ends {
        if self.number.is_some() && self.script.number != Number::None {
            self.script.passing
        } else {
            self.script.lasting
        }
    }

    /// The seconds after which a client with the deadline `deadline` must have ended.
    pub fn within(&self, deadline: u32) -> u32 {
        match self.ends() {
            Succeeds if self.number.is_none() => AT_ONCE.max(deadline),
            Succeeds => {
                AFTER_RETRIES + if self.script.act == Act::Late { self.number.unwrap_or(0) } else { 0 }
            }
            Denied => AT_ONCE,
            Unreachable | Malformed | Somehow => deadline + AT_ONCE,
        }
    }
}

impl FromStr for Fault {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (text, path) =
            text.split_once('@').map_or((text, None), |(text, path)| (text, Some(path.to_owned())));
        let (name, number) = text.split_once('=').map_or((text, None), |(name, number)| (name, Some(number)));
        let script = SCRIPTS.iter().find(|script| script.name == name).ok_or_else(|| {
            let meant = did_you_mean(name, SCRIPTS.iter().map(|script| script.name));
            Error::usage(format!("there is no fault {name:?}{meant}")).help("kiln simulate --list shows all")
        })?;
        let default = match script.number {
            Number::None | Number::Always => None,
            Number::Requests(count) | Number::Seconds(count) => Some(count),
        };
        let wrong = || Error::usage(format!("{text:?}: the number of a fault is a number, or \"always\""));
        let number = match number {
            None => default,
            Some(_) if script.number == Number::None => {
                return Err(Error::usage(format!("the fault {name:?} takes no number")));
            }
            Some("always") if !matches!(script.number, Number::Seconds(_)) => None,
            Some(number) => Some(number.parse().map_err(|_| wrong())?),
        };
        Ok(Self { script, number, path })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.script.name)?;
        match (self.number, self.script.number) {
            (None, Number::Requests(_)) => formatter.write_str("=always")?,
            (Some(number), Number::Requests(usual) | Number::Seconds(usual)) if number != usual => {
                write!(formatter, "={number}")?
            }
            (Some(number), Number::Always) => write!(formatter, "={number}")?,
            _ => {}
        }
        self.path.as_ref().map_or(Ok(()), |path| write!(formatter, "@{path}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_written_and_read() {
        for (text, number, path, ends) in [
            ("none", None, None, Succeeds),
            ("late", Some(2), None, Succeeds),
            ("late=5", Some(5), None, Succeeds),
            ("throttled", Some(2), None, Succeeds),
            ("throttled=always", None, None, Unreachable),
            ("stall", None, None, Unreachable),
            ("stall=1@/latest/user-data", Some(1), Some("/latest/user-data"), Succeeds),
            ("wrong-instance", None, None, Denied),
        ] {
            let fault: Fault = text.parse().unwrap();
            assert_eq!((fault.number, fault.path.as_deref(), fault.ends()), (number, path, ends), "{text}");
            assert_eq!(fault.to_string(), text);
        }
        for (text, expected) in [
            ("lat", "no fault"),
            ("late=x", "a number"),
            ("late=always", "a number"),
            ("refused=1", "takes no number"),
            ("", "no fault"),
        ] {
            assert!(text.parse::<Fault>().unwrap_err().message.contains(expected), "{text}");
        }
    }

    #[test]
    fn names_are_unique_and_deadlines_finite() {
        for (number, script) in SCRIPTS.iter().enumerate() {
            assert!(SCRIPTS[..number].iter().all(|other| other.name != script.name), "{}", script.name);
            assert!(Fault::named(script.name).unwrap().within(10) <= 32, "{}", script.name);
        }
    }
}
