//! Retries: exponential back-off with full jitter, so that a thousand nodes that boot together do not retry
//! together.
//!
//! After failure number n, the wait is random between 0 and base × 2ⁿ, up to a limit
//! (<https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>).

use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

use ring::rand::{SecureRandom, SystemRandom};

use super::{Deadline, Error};
use crate::error::{Failure, Result};

/// The upper bound of the first wait.
const BASE: Duration = Duration::from_millis(500);
/// The upper bound of all waits.
const CAP: Duration = Duration::from_secs(15);
/// The shortest wait.
const FLOOR: Duration = Duration::from_millis(50);

/// The shortest useful time for a request.
const SHORTEST_TRY: Duration = Duration::from_millis(20);

/// Nothing is said of failures that pass within this time. Afterwards each silence is as long as all the time
/// before it.
const SILENCE: Duration = Duration::from_secs(5);

/// Prints a line for the operator.
#[derive(Clone, Copy)]
struct Print<'a>(&'a dyn Fn(&str));

impl fmt::Debug for Print<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Print")
    }
}

/// Computes the wait before the next try.
#[derive(Debug, Clone)]
pub struct Backoff<'a> {
    base: Duration,
    cap: Duration,
    failures: u32,
    last: Option<Failure>,
    state: u64,
    /// The first failure.
    since: Option<Instant>,
    silence: Duration,
    print: Option<Print<'a>>,
}

impl<'a> Backoff<'a> {
    /// Waits with random jitter.
    pub fn new() -> Self {
        let mut seed = [0; 8];
        // Without randomness, the process ID is the seed, which spreads the waits well enough.
        if SystemRandom::new().fill(&mut seed).is_err() {
            seed = u64::from(std::process::id()).to_le_bytes();
        }
        Self::seeded(u64::from_le_bytes(seed))
    }

    /// Gives the same waits for the same seed.
    pub fn seeded(seed: u64) -> Self {
        Self {
            base: BASE,
            cap: CAP,
            failures: 0,
            last: None,
            state: seed,
            since: None,
            silence: SILENCE,
            print: None,
        }
    }

    /// Changes the bounds of the waits.
    #[must_use]
    pub fn between(mut self, base: Duration, cap: Duration) -> Self {
        (self.base, self.cap) = (base, cap);
        self
    }

    /// Says at growing intervals that there are failures, since when, and until when it is tried.
    #[must_use]
    pub fn telling(mut self, print: &'a dyn Fn(&str)) -> Self {
        self.print = Some(Print(print));
        self
    }

    fn tell(&mut self, failure: &Failure, deadline: Deadline) {
        let failing = self.since.get_or_insert_with(Instant::now).elapsed();
        if let Some(Print(print)) = self.print.filter(|_| failing >= self.silence) {
            self.silence = failing * 2;
            let (past, left) = (failing.as_secs(), deadline.remaining().as_secs());
            print(&format!("{failure}: this has failed for {past} s and is tried for {left} s more"));
        }
    }

    /// The wait after one more failure. It is never shorter than the server asks for.
    pub fn wait(&mut self, retry_after: Option<Duration>) -> Duration {
        let bound = self.base.saturating_mul(1 << self.failures.min(16)).min(self.cap);
        self.failures = self.failures.saturating_add(1);
        let jitter = bound.mul_f64(self.fraction()).max(FLOOR.min(bound));
        retry_after.unwrap_or_default() + jitter
    }

    /// Failures so far.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Starts again after a success.
    pub fn reset(&mut self) {
        (self.failures, self.last) = (0, None);
        (self.since, self.silence) = (None, SILENCE);
    }

    /// A number between 0 and 1, uniformly distributed (splitmix64).
    fn fraction(&mut self) -> f64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

impl Default for Backoff<'_> {
    fn default() -> Self {
        Self::new()
    }
}

/// Calls `attempt` until it succeeds, fails permanently, or the next try would be too late.
pub fn until<T>(
    deadline: Deadline,
    backoff: &mut Backoff,
    mut attempt: impl FnMut() -> std::result::Result<T, Error>,
) -> Result<T> {
    loop {
        match attempt() {
            Ok(value) => {
                backoff.reset();
                return Ok(value);
            }
            Err(error) => pause(deadline, backoff, error)?,
        }
    }
}

/// Waits after a transient failure. Returns any other failure.
pub fn pause(deadline: Deadline, backoff: &mut Backoff, error: Error) -> Result<()> {
    if !error.failure.transient {
        return Err(error.failure);
    }
    let wait = backoff.wait(error.retry_after);
    let error = match backoff.last.take() {
        // The deadline cut this try short, so the error of the previous one says more.
        Some(last) if deadline.has_passed() => Error { failure: last, ..error },
        _ => error,
    };
    backoff.last = Some(error.failure.clone());
    let in_time = wait + SHORTEST_TRY < deadline.remaining();
    if in_time {
        backoff.tell(&error.failure, deadline);
        thread::sleep(wait);
    }
    // A try without time for an answer would only replace the reason with a timeout.
    if in_time && deadline.remaining() >= SHORTEST_TRY {
        Ok(())
    } else {
        Err(given_up(error, backoff.failures(), deadline))
    }
}

fn given_up(error: Error, tries: u32, deadline: Deadline) -> Failure {
    let asked = error
        .retry_after
        .map(|wait| format!("; the server asks to come back after {} s", wait.as_secs()))
        .unwrap_or_default();
    let mut failure = error.failure;
    let times = if tries == 1 { "once".to_owned() } else { format!("{tries} times") };
    failure.message =
        format!("{} (tried {times} in {:.1} s{asked})", failure.message, deadline.elapsed().as_secs_f64());
    failure
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::error::ErrorKind;

    fn passing() -> Error {
        Failure::new(ErrorKind::Unreachable, "no answer").transient().into()
    }

    #[test]
    fn waits_grow_are_spread_and_bounded() {
        let mut seen = std::collections::HashSet::new();
        for seed in 0..50 {
            let mut backoff = Backoff::seeded(seed);
            for failure in 0..12 {
                let bound = (BASE * (1 << failure)).min(CAP);
                let wait = backoff.wait(None);
                assert!(wait >= FLOOR && wait <= bound, "{failure}: {wait:?}");
                seen.insert(wait);
            }
        }
        assert!(seen.len() > 500, "{}", seen.len());
        let mean = (0..1000).map(|seed| Backoff::seeded(seed).wait(None).as_secs_f64()).sum::<f64>() / 1000.0;
        assert!((0.2..0.3).contains(&mean), "{mean}");
        assert_eq!(Backoff::seeded(7).wait(None), Backoff::seeded(7).wait(None));
    }

    #[test]
    fn failures_are_told_at_growing_intervals() {
        let told = RefCell::new(Vec::new());
        let print = |line: &str| told.borrow_mut().push(line.to_owned());
        let mut backoff = Backoff::seeded(1)
            .between(Duration::from_millis(1), Duration::from_millis(2))
            .telling(&print);
        backoff.silence = Duration::from_millis(5);
        let mut tries = 0;
        let ended = until(Deadline::after(Duration::from_secs(60)), &mut backoff, || {
            tries += 1;
            if told.borrow().len() < 4 { Err(passing()) } else { Ok(()) }
        });
        ended.unwrap();
        let first = &told.borrow()[0];
        assert!(first.starts_with("no answer: this has failed for 0 s and is tried for 5"), "{first}");
        assert!(tries > 5, "{tries}");
        assert_eq!(backoff.silence, SILENCE, "a success begins anew");
    }

    #[test]
    fn a_server_that_asks_for_quiet_gets_it() {
        for seed in 0..20 {
            assert!(Backoff::seeded(seed).wait(Some(Duration::from_secs(7))) > Duration::from_secs(7));
        }
        let mut calls = 0;
        let failure = until(Deadline::after(Duration::from_secs(2)), &mut Backoff::seeded(1), || {
            calls += 1;
            Err::<(), _>(Error { retry_after: Some(Duration::from_secs(30)), ..passing() })
        });
        assert_eq!(calls, 1);
        assert!(failure.unwrap_err().message.contains("; the server asks to come back after 30 s)"));
    }

    #[test]
    fn only_what_may_heal_is_tried_again() {
        let mut backoff = Backoff::seeded(1).between(Duration::from_millis(1), Duration::from_millis(5));
        let mut calls = 0;
        let value = until(Deadline::after(Duration::from_secs(5)), &mut backoff, || {
            calls += 1;
            if calls < 4 { Err(passing()) } else { Ok(calls) }
        });
        assert_eq!((value.unwrap(), backoff.failures()), (4, 0));
        let mut calls = 0;
        let failure = until(Deadline::after(Duration::from_secs(5)), &mut backoff, || {
            calls += 1;
            Err::<(), _>(Failure::new(ErrorKind::Untrusted, "wrong pin").into())
        });
        assert_eq!((failure.unwrap_err().message.as_str(), calls), ("wrong pin", 1));
        let mut calls = 0;
        let deadline = Deadline::after(Duration::from_millis(200));
        let failure = until(deadline, &mut backoff, || {
            calls += 1;
            if calls == 1 {
                return Err::<(), _>(passing());
            }
            thread::sleep(deadline.remaining());
            Err(Failure::new(ErrorKind::Unreachable, "no time").transient().into())
        });
        assert!(failure.unwrap_err().message.starts_with("no answer (tried 2 times in 0."));
        let failure =
            until(Deadline::after(Duration::from_millis(60)), &mut backoff, || Err::<(), _>(passing()))
                .unwrap_err();
        assert!(failure.transient && failure.message.starts_with("no answer (tried "), "{failure}");
    }
}
