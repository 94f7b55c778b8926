//! A point in time by which something must be done.

use std::io;
use std::time::{Duration, Instant};

/// Used for durations that no clock can hold.
const FOREVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// The end and the start of a time limit.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    started: Instant,
    end: Instant,
}

impl Deadline {
    /// Starts now and ends after `duration`.
    pub fn after(duration: Duration) -> Self {
        let started = Instant::now();
        Self { started, end: started.checked_add(duration).unwrap_or(started + FOREVER) }
    }

    /// A part of this one. It starts now and ends after `limit`, or earlier, with the whole.
    #[must_use]
    pub fn within(&self, limit: Duration) -> Self {
        let part = Self::after(limit);
        Self { end: part.end.min(self.end), ..part }
    }

    /// The time left; zero once the deadline has passed.
    pub fn remaining(&self) -> Duration {
        self.end.saturating_duration_since(Instant::now())
    }

    /// Whether no time is left.
    pub fn has_passed(&self) -> bool {
        self.remaining().is_zero()
    }

    /// The time since its start.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// The time left as a timeout for the operating system. It is never zero, because zero means no limit.
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
