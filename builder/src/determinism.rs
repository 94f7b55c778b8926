//! The only clock and the only source of identifiers of a build.
//!
//! Nothing else in the builder may read the time, the host's name or randomness: two builds of one lock are
//! bit-identical.

use uuid::Uuid;

use crate::digest::Digest;
use crate::error::{Error, ErrorKind, Result};

/// The time that everything in an image carries when SOURCE_DATE_EPOCH is not set: 2020-01-01T00:00:00Z, in
/// seconds. Later than the FAT epoch (1980) and any certificate's "not before" check that a fresh machine
/// could trip over.
pub const DEFAULT_EPOCH: u64 = 1_577_836_800;

/// The time of the build in seconds since 1970 (<https://reproducible-builds.org/specs/source-date-epoch/>).
///
/// # Errors
/// When SOURCE_DATE_EPOCH is set to something that is not a number.
pub fn source_date_epoch() -> Result<u64> {
    match std::env::var("SOURCE_DATE_EPOCH") {
        Err(_) => Ok(DEFAULT_EPOCH),
        Ok(text) => text.trim().parse().map_err(|_| {
            Error::new(ErrorKind::Usage, format!("SOURCE_DATE_EPOCH is \"{text}\", not a number of seconds"))
                .help("unset it, or set it to seconds since 1970-01-01")
        }),
    }
}

/// The present time in seconds since 1970: the time of `kiln lock --snapshot latest`. A build has no use for
/// it.
pub fn present() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// An identifier (RFC 9562, version 8) that depends only on `seed` and `purpose`.
pub fn uuid(seed: &Digest, purpose: &str) -> Uuid {
    let mixed = Digest::of(format!("{seed} {purpose}").as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&mixed.bytes()[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

/// A moment in UTC, as calendars write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Calendar {
    /// 1970 to 65535.
    pub year: u16,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 59.
    pub second: u8,
}

impl Calendar {
    /// The moment `epoch` seconds after 1970; the year 9999 is the last one.
    pub fn at(epoch: u64) -> Self {
        const LAST: u64 = 253_402_300_799;
        let epoch = epoch.min(LAST);
        let (days, rest) = (epoch / 86_400, epoch % 86_400);
        // Counted from 0000-03-01, so that the leap day is a year's last (H. Hinnant, "chrono-Compatible
        // Low-Level Date Algorithms").
        let days = days + 719_468;
        let (era, day_of_era) = (days / 146_097, days % 146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        let year = era * 400 + year_of_era + u64::from(month <= 2);
        Self {
            year: year as u16,
            month: month as u8,
            day: (day_of_year - (153 * shifted_month + 2) / 5 + 1) as u8,
            hour: (rest / 3600) as u8,
            minute: (rest / 60 % 60) as u8,
            second: (rest % 60) as u8,
        }
    }

    /// Seconds since 1970; `None` where the calendar has no such moment.
    pub fn epoch(&self) -> Option<u64> {
        let &Self { year, month, day, hour, minute, second } = self;
        // As in `at`: years begin in March.
        let year = u64::from(year).checked_sub(u64::from(month <= 2))?;
        let shifted_month = (u64::from(month) + 9) % 12;
        let day_of_year = (153 * shifted_month + 2) / 5 + u64::from(day);
        let days = year * 365 + year / 4 - year / 100 + year / 400 + day_of_year;
        let rest = u64::from(hour) * 3600 + u64::from(minute) * 60 + u64::from(second);
        let epoch = days.checked_sub(719_469)? * 86_400 + rest;
        (Self::at(epoch) == *self).then_some(epoch)
    }
}

/// RFC 3339.
impl std::fmt::Display for Calendar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { year, month, day, hour, minute, second } = self;
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_differ_by_purpose_and_repeat() {
        let seed = Digest::of(b"image");
        assert_eq!(uuid(&seed, "disk"), uuid(&seed, "disk"));
        assert_ne!(uuid(&seed, "disk"), uuid(&seed, "root"));
        assert_eq!(uuid(&seed, "disk").get_version_num(), 8);
    }

    #[test]
    fn calendars_agree_with_date_utc() {
        for (epoch, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (DEFAULT_EPOCH, "2020-01-01T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (u64::MAX, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(Calendar::at(epoch).to_string(), text);
            let known = epoch.min(253_402_300_799);
            assert_eq!(Calendar::at(epoch).epoch(), Some(known), "{text}");
        }
        let moment = Calendar::at(0);
        for wrong in [
            Calendar { day: 0, ..moment },
            Calendar { month: 0, ..moment },
            Calendar { month: 13, ..moment },
            Calendar { month: 2, day: 30, ..moment },
            Calendar { year: 1969, ..moment },
            Calendar { hour: 24, ..moment },
            Calendar { year: u16::MAX, ..moment },
        ] {
            assert_eq!(wrong.epoch(), None, "{wrong}");
        }
    }
}
