//! OAuth 1.0 with the method PLAINTEXT (RFC 5849): the keys by which a service knows a machine.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use crate::text::percent;

/// The header of a signed request.
pub(crate) const HEADER: &str = "authorization";

/// The keys of a machine.
pub struct OAuth {
    /// The name of the client.
    pub consumer_key: Zeroizing<String>,
    /// The secret of the client, which may be empty.
    pub consumer_secret: Zeroizing<String>,
    /// The name of the token.
    pub token_key: Zeroizing<String>,
    /// The secret of the token.
    pub token_secret: Zeroizing<String>,
}

impl OAuth {
    /// The header's value for one request at `now`; none without random numbers.
    pub(crate) fn header(&self, now: SystemTime) -> Option<Zeroizing<String>> {
        let mut nonce = [0; 8];
        SystemRandom::new().fill(&mut nonce).ok()?;
        let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let signature = [encoded(&self.consumer_secret), encoded(&self.token_secret)];
        let signature = Zeroizing::new(format!("{}&{}", *signature[0], *signature[1]));
        Some(Zeroizing::new(format!(
            "OAuth oauth_version=\"1.0\", oauth_signature_method=\"PLAINTEXT\", oauth_nonce=\"{:020}\", \
             oauth_timestamp=\"{seconds}\", oauth_consumer_key=\"{}\", oauth_token=\"{}\", oauth_signature=\"{}\"",
            u64::from_le_bytes(nonce),
            *encoded(&self.consumer_key),
            *encoded(&self.token_key),
            *encoded(&signature),
        )))
    }
}

fn encoded(text: &str) -> Zeroizing<String> {
    Zeroizing::new(percent::encoded(text, b""))
}

/// The clock of the service that a machine signs for, which refuses times that are far from its own.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    /// The service's time, and the machine's at that moment.
    seen: Option<(SystemTime, SystemTime)>,
}

impl Clock {
    /// The service's time at the machine's time `now`.
    pub fn at(&self, now: SystemTime) -> SystemTime {
        let Some((theirs, ours)) = self.seen else { return now };
        theirs + now.duration_since(ours).unwrap_or(Duration::ZERO)
    }

    /// Takes the time that the service says. Returns whether there is one.
    pub fn follow(&mut self, said: Option<SystemTime>, now: SystemTime) -> bool {
        self.seen = said.map(|theirs| (theirs, now)).or(self.seen);
        said.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_signed_as_the_service_checks_it() {
        let text = |text: &str| Zeroizing::new(text.to_owned());
        let keys = OAuth {
            consumer_key: text("c1"),
            consumer_secret: text(""),
            token_key: text("t/1"),
            token_secret: text("s&1"),
        };
        let now = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let (header, again) = (keys.header(now).unwrap(), keys.header(now).unwrap());
        for part in [
            "OAuth ",
            "oauth_signature_method=\"PLAINTEXT\"",
            "oauth_timestamp=\"1700000000\"",
            "oauth_consumer_key=\"c1\"",
            "oauth_token=\"t%2F1\"",
            "oauth_signature=\"%26s%25261\"",
        ] {
            assert!(header.contains(part), "{part}: {}", *header);
        }
        assert_ne!(*header, *again, "each request has a nonce of its own");
    }

    #[test]
    fn the_clock_of_the_service_counts() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let mut clock = Clock::default();
        assert_eq!((clock.at(at(5)), clock.follow(None, at(5))), (at(5), false));
        assert!(clock.follow(Some(at(1000)), at(5)));
        assert_eq!((clock.at(at(7)), clock.at(at(3))), (at(1002), at(1000)));
    }
}
