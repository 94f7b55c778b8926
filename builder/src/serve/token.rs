//! Bootstrap tokens, one for each machine: the output of the operator's command.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;
use tokio::sync::Semaphore;

use contract::text::visible_lines;

/// How many commands run at once: each talks to the API server.
const AT_ONCE: usize = 4;

/// How long a command may take.
const LIMIT: Duration = Duration::from_secs(60);

/// The most bytes of its output that are read.
const LONGEST_OUTPUT: u64 = 4096;

/// Makes tokens.
#[derive(Debug)]
pub(super) struct Tokens {
    words: Vec<String>,
    slots: Semaphore,
}

impl Tokens {
    /// Tokens that the command `words` prints; it runs without a shell.
    pub fn new(words: Vec<String>) -> Self {
        Self { words, slots: Semaphore::new(AT_ONCE) }
    }

    /// A new token.
    ///
    /// # Errors
    /// Why there is none, without its text.
    pub async fn make(&self) -> Result<String, String> {
        let (program, arguments) = self.words.split_first().ok_or("there is no token command")?;
        let _slot = self.slots.acquire().await.map_err(|_| "the server is ending")?;
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("starting {program}: {error}"))?;
        let (output, errors) = (child.stdout.take(), child.stderr.take());
        let run = async {
            let (output, errors) = tokio::join!(text(output), text(errors));
            (output, errors, child.wait().await)
        };
        let (output, errors, status) = tokio::time::timeout(LIMIT, run)
            .await
            .map_err(|_| format!("{program} took longer than {} s", LIMIT.as_secs()))?;
        let status = status.map_err(|error| format!("waiting for {program}: {error}"))?;
        if !status.success() {
            let errors: String = visible_lines(errors.trim()).chars().take(300).collect();
            return Err(format!("{program} failed ({status}): {errors}"));
        }
        let token = output.trim();
        if !is_token(token) {
            return Err(format!("{program} did not print a bootstrap token alone"));
        }
        Ok(token.to_owned())
    }
}

/// The start of what a program prints; the rest is thrown away.
async fn text(from: Option<impl AsyncRead + Unpin>) -> String {
    let mut kept = Vec::new();
    if let Some(mut from) = from {
        let _ = (&mut from).take(LONGEST_OUTPUT).read_to_end(&mut kept).await;
        let _ = tokio::io::copy(&mut from, &mut tokio::io::sink()).await;
    }
    String::from_utf8_lossy(&kept).into_owned()
}

/// `[a-z0-9]{6}\.[a-z0-9]{16}` (Kubernetes, "Authenticating with Bootstrap Tokens").
fn is_token(text: &str) -> bool {
    let is_word = |word: &str, length| {
        word.len() == length && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    text.split_once('.').is_some_and(|(id, secret)| is_word(id, 6) && is_word(secret, 16))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_bootstrap_token_alone_is_taken() {
        assert!(is_token("abcdef.0123456789abcdef"));
        for text in [
            "",
            "abcdef",
            "abcdef.0123456789abcdeF",
            "abcdef.0123456789abcdef\n\nmore",
            "a.b",
            "abcdef.0123456789abcde:",
        ] {
            assert!(!is_token(text), "{text:?}");
        }
    }
}
