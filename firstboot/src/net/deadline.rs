//! A point in time by which something must be done.

use std::io;
use std::time::{Duration, Instant};

/// Stands for durations that no clock can hold.
const FOREVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// Until when something may take, and since when it has been going on.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    started: Instant,
    end: Instant,
}

impl Deadline {
    /// From now on for `duration`.
    pub fn after(duration: Duration) -> Self {
        let started = Instant::now();
        Self { started, end: started.checked_add(duration).unwrap_or(started + FOREVER) }
    }

    /// A part of this one that begins now: it ends after `limit`, or when the whole ends.
    #[must_use]
    pub fn within(&self, limit: Duration) -> Self {
        let part = Self::after(limit);
        Self { end: part.end.min(self.end), ..part }
    }

    /// What is left; zero when it has passed.
    pub fn remaining(&self) -> Duration {
        self.end.saturating_duration_since(Instant::now())
    }

    /// Whether nothing is left.
    pub fn has_passed(&self) -> bool {
        self.remaining().is_zero()
    }

    /// How long it has been going on.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// What is left as a time-out of the operating system: never zero, which would mean for ever.
    pub(super) fn timeout(&self) -> io::Result<Duration> {
        match self.remaining() {
            Duration::ZERO => Err(io::ErrorKind::TimedOut.into()),
            remaining => Ok(remaining.max(Duration::from_millis(1))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_ends_with_the_whole() {
        let whole = Deadline::after(Duration::from_secs(1));
        assert!(whole.within(Duration::from_secs(5)).remaining() <= Duration::from_secs(1));
        assert!(whole.within(Duration::from_millis(10)).remaining() <= Duration::from_millis(10));
        assert!(!whole.has_passed() && whole.timeout().is_ok());
        assert!(Deadline::after(Duration::MAX).remaining() > Duration::from_secs(3600));
        let past = Deadline::after(Duration::ZERO);
        assert!(past.has_passed());
        assert_eq!(past.timeout().unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
