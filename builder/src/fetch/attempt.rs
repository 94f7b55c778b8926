//! Attempts: which failures are temporary, how long to wait, and where to look next.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind, Result};
use crate::fetch::Absence;
use crate::fetch::mirror::Place;
use crate::progress::Progress;

/// The longest pause between two attempts, unless the server asks for a longer one.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How often a pause checks whether the result is still wanted.
const LOOK: Duration = Duration::from_millis(50);

/// How an attempt failed. This decides what comes next.
pub(super) enum Failure {
    /// Another attempt at the same place may succeed.
    Passing {
        /// The error.
        error: Error,
        /// How long the server asks the client to wait.
        after: Option<Duration>,
        /// Whether this attempt made progress. If so, the count of attempts starts again.
        advanced: bool,
    },
    /// This place cannot serve the file, but another may.
    Place(Error),
    /// This place does not have the file, but another may.
    Absent(Error),
    /// No other place can help: the local disk or another download failed.
    Final(Error),
}

impl Failure {
    /// A temporary failure with no delay or progress.
    pub fn passing(error: Error) -> Self {
        Self::Passing { error, after: None, advanced: false }
    }

    fn into_error(self) -> Error {
        match self {
            Self::Passing { error, .. } | Self::Place(error) | Self::Absent(error) | Self::Final(error) => {
                error
            }
        }
    }
}

/// Something to fetch, and how often to try.
pub(super) struct Download<'a> {
    /// The name of the file, for messages.
    pub title: &'a str,
    /// Where to look, best first.
    pub places: &'a [Place],
    /// How to explain that no place has the file.
    pub absent: Option<&'a Absence>,
    /// Attempts after the first at each place.
    pub retries: u32,
    /// Upper bound of the first pause; it doubles with each.
    pub backoff: Duration,
    /// Is set when the result is no longer wanted.
    pub stop: &'a AtomicBool,
    /// Shows messages about further attempts.
    pub progress: &'a Progress,
}

impl Download<'_> {
    /// Tries each place until one succeeds, several times if the failure is temporary.
    pub fn run<T>(&self, mut attempt: impl FnMut(&Place) -> Result<T, Failure>) -> Result<T> {
        let mut failed = Vec::new();
        let mut lacking = 0;
        for place in self.places {
            match self.retry(|| attempt(place)) {
                Ok(found) => return Ok(found),
                Err(Failure::Final(error)) => return Err(error.context(self.title)),
                Err(failure) => {
                    lacking += usize::from(matches!(failure, Failure::Absent(_)));
                    failed.push(failure.into_error().context(place));
                }
            }
        }
        let everywhere = lacking == failed.len();
        let error = combine(self.title, failed);
        Err(match self.absent {
            Some(absence) if lacking > 0 && error.kind() == ErrorKind::Fetch => {
                let message = if everywhere { absence.message.as_str() } else { error.message() };
                Error::new(ErrorKind::Fetch, message).help(absence.help.as_str())
            }
            _ => error,
        })
    }

    fn retry<T>(&self, mut attempt: impl FnMut() -> Result<T, Failure>) -> Result<T, Failure> {
        let mut failures = 0;
        loop {
            match attempt() {
                Err(Failure::Passing { error, after, advanced }) => {
                    failures = if advanced { 1 } else { failures + 1 };
                    if failures > self.retries {
                        let error = if self.retries > 0 {
                            error.context(format!("gave up after {failures} attempts"))
                        } else {
                            error
                        };
                        return Err(Failure::Place(error));
                    }
                    let pause = after.unwrap_or_else(|| pause(self.backoff, failures));
                    self.progress.note(&format!(
                        "{}: {}; again in {:.1} s",
                        self.title,
                        error.message(),
                        pause.as_secs_f32()
                    ));
                    self.wait(pause)?;
                }
                outcome => return outcome,
            }
        }
    }

    fn wait(&self, pause: Duration) -> Result<(), Failure> {
        let end = Instant::now() + pause;
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return Err(stopped());
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            thread::sleep(left.min(LOOK));
        }
    }
}

/// The failure of a download that stopped because another one failed.
pub(super) fn stopped() -> Failure {
    Failure::Final(Error::new(ErrorKind::Fetch, "stopped because another download failed"))
}

/// Exponential backoff with full jitter: a random time up to `first`, doubled with each failure. So many
/// builds that were refused together do not retry together.
fn pause(first: Duration, failures: u32) -> Duration {
    let longest = first.saturating_mul(1 << (failures - 1).min(16)).min(LONGEST_PAUSE);
    // The keys of the standard library's hash maps serve as randomness, which only decides this pause.
    let random = RandomState::new().build_hasher().finish();
    longest.mul_f64(random as f64 / u64::MAX as f64)
}

/// One error out of those of all places. Wrong bytes from one place matter more than no answer from another.
fn combine(title: &str, failed: Vec<Error>) -> Error {
    let weightiest = failed
        .iter()
        .find(|error| error.kind() == ErrorKind::Verification)
        .or_else(|| failed.first());
    let (class, hint) =
        weightiest.map_or((ErrorKind::Fetch, None), |error| (error.kind(), error.hint().map(str::to_owned)));
    let message = match failed.as_slice() {
        [only] => format!("{title}: {}", only.message()),
        several => {
            let lines: String = several
                .iter()
                .map(|error| format!("\n  {}", error.message().replace('\n', "\n  ")))
                .collect();
            format!("{title}: none of {} places has it{lines}", several.len())
        }
    };
    let error = Error::new(class, message);
    match hint {
        Some(hint) => error.help(hint),
        None => error,
    }
}

#[cfg(test)]
#[path = "attempt_tests.rs"]
mod tests;
