//! Tokens of a metadata service: issues, checks, expires and revokes them.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The tokens of one running simulation.
#[derive(Debug, Default)]
pub struct Tokens {
    issued: Mutex<HashMap<String, Instant>>,
    count: AtomicU64,
}

impl Tokens {
    /// Issues a token that is valid for `seconds`. It need not be secret, because it only works for a
    /// simulator.
    pub fn issue(&self, seconds: u64) -> String {
        let number = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        let token = format!("AQAEAKilnSimulator{number:08}TokenThatIsGoodForNothingElse==");
        self.lock().insert(token.clone(), Instant::now() + Duration::from_secs(seconds));
        token
    }

    /// Whether the token was issued, is not revoked and has not expired.
    pub fn is_good(&self, token: &str) -> bool {
        self.lock().get(token).is_some_and(|until| Instant::now() < *until)
    }

    /// Revokes all tokens.
    pub fn withdraw(&self) {
        self.lock().clear();
    }

    /// The number of issued tokens.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Instant>> {
        self.issued.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_end() {
        let tokens = Tokens::default();
        let (long, short) = (tokens.issue(60), tokens.issue(0));
        assert!(
            long != short && tokens.is_good(&long) && !tokens.is_good(&short) && !tokens.is_good("guess")
        );
        tokens.withdraw();
        assert!(!tokens.is_good(&long) && tokens.count() == 2);
    }
}
