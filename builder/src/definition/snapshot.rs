//! The time of a snapshot of an archive: `20261101T000000Z`, as snapshot services write it in addresses.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::determinism::{self, Calendar};

/// A moment in UTC, in whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Snapshot(u64);

/// The snapshot that a command line asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// The archive as it is now.
    Latest,
    /// The archive as it was at a time.
    At(Snapshot),
}

impl Snapshot {
    /// The archive as it is now.
    pub fn latest() -> Self {
        Self(determinism::present())
    }

    /// The time in a package list of an archive: "Sat, 15 Nov 2025 10:03:52 UTC".
    pub fn of_list(date: &str) -> Option<Self> {
        let date = date.trim().strip_suffix("UTC")?;
        let time = httpdate::parse_http_date(&format!("{date}GMT")).ok()?;
        let since = time.duration_since(std::time::UNIX_EPOCH).ok()?;
        Some(Self(since.as_secs()))
    }

    /// The same time on the next day.
    pub fn next_day(self) -> Self {
        Self(self.0 + 86_400)
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Calendar { year, month, day, hour, minute, second } = Calendar::at(self.0);
        write!(f, "{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
    }
}

impl FromStr for Snapshot {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        moment(text).map(Self).ok_or_else(|| {
            format!(
                "\"{text}\" is not the time of a snapshot\nwrite a moment in UTC, such as \"20261101T000000Z\""
            )
        })
    }
}

fn moment(text: &str) -> Option<u64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let digits =
        |text: &str, length: usize| text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(date, 8) || !digits(time, 6) {
        return None;
    }
    let two = |text: &str, at: usize| text[at..at + 2].parse().ok();
    let calendar = Calendar {
        year: date[..4].parse().ok()?,
        month: two(date, 4)?,
        day: two(date, 6)?,
        hour: two(time, 0)?,
        minute: two(time, 2)?,
        second: two(time, 4)?,
    };
    calendar.epoch()
}

impl TryFrom<String> for Snapshot {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Snapshot> for String {
    fn from(snapshot: Snapshot) -> Self {
        snapshot.to_string()
    }
}

impl JsonSchema for Snapshot {
    fn schema_name() -> Cow<'static, str> {
        "Snapshot".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^[0-9]{8}T[0-9]{6}Z$",
            "description": "A moment in UTC, such as 20261101T000000Z",
        })
    }
}

impl FromStr for Wanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "latest" => Ok(Self::Latest),
            time => time
                .parse()
                .map(Self::At)
                .map_err(|_| format!("\"{time}\" is neither \"latest\" nor a time such as 20261101T000000Z")),
        }
    }
}

impl Wanted {
    /// The time that is meant.
    pub fn time(self) -> Snapshot {
        match self {
            Self::Latest => Snapshot::latest(),
            Self::At(snapshot) => snapshot,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_one_form() {
        let time: Snapshot = "20241231T235959Z".parse().unwrap();
        assert_eq!(time.to_string(), "20241231T235959Z");
        assert_eq!(time.next_day().to_string(), "20250101T235959Z");
        for wrong in [
            "",
            "latest",
            "20241231",
            "20241231T235959",
            "2024-12-31T23:59:59Z",
            "20240230T000000Z",
            "20241301T000000Z",
            "20241231T240000Z",
            "19691231T000000Z",
            "+0241231T235959Z",
            "2024123\u{e9}T23595Z",
            "20241231T2359590Z",
        ] {
            assert!(wrong.parse::<Snapshot>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_time_of_a_package_list_is_read() {
        let time = Snapshot::of_list(" Sat, 15 Nov 2025 10:03:52 UTC\n").unwrap();
        assert_eq!(time.to_string(), "20251115T100352Z");
        assert_eq!(Snapshot::of_list("Sat, 15 Nov 2025 10:03:52 +0000"), None);
        assert_eq!(Snapshot::of_list("UTC"), None);
    }

    #[test]
    fn a_command_line_may_ask_for_the_present() {
        assert_eq!("latest".parse(), Ok(Wanted::Latest));
        assert_eq!("20241231T235959Z".parse::<Wanted>().unwrap().time().to_string(), "20241231T235959Z");
        assert!(Wanted::Latest.time() > "20251115T100352Z".parse().unwrap());
        assert!("newest".parse::<Wanted>().unwrap_err().contains("latest"));
    }
}
