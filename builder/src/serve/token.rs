//! Bootstrap tokens, one for each machine: the output of the operator's command.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;
use tokio::sync::Semaphore;

use contract::text::visible_lines;

use crate::error::{Error, ErrorKind, Result};
use crate::process::is_there;

/// How many commands run at once: each talks to the API server.
const AT_ONCE: usize = 4;

/// How many of them are one address's, so that others need not wait for all that it asks.
const FOR_ONE: usize = 3;

/// How long a command may take.
const LIMIT: Duration = Duration::from_secs(60);

/// How long its pipes are read when it has ended.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// The length of a token.
const LENGTH: usize = 6 + 1 + 16;

/// The most bytes of its output that are read.
const LONGEST_OUTPUT: u64 = 4096;

/// Makes tokens.
#[derive(Debug)]
pub(super) struct Tokens {
    words: Vec<String>,
    slots: Semaphore,
    wanted: Mutex<Wanted>,
}

/// Who waits for a token.
#[derive(Debug, Default)]
struct Wanted {
    machines: BTreeSet<Arc<str>>,
    addresses: HashMap<IpAddr, Arc<Semaphore>>,
}

/// The wish of one machine; it ends when dropped.
struct Wish<'a> {
    wanted: &'a Mutex<Wanted>,
    machine: &'a Arc<str>,
    address: IpAddr,
    slots: Arc<Semaphore>,
}

impl<'a> Wish<'a> {
    /// Nothing if the machine has one already.
    fn new(wanted: &'a Mutex<Wanted>, machine: &'a Arc<str>, address: IpAddr) -> Option<Self> {
        let mut all = wanted.lock().unwrap_or_else(PoisonError::into_inner);
        if !all.machines.insert(machine.clone()) {
            return None;
        }
        let slots = all.addresses.entry(address).or_insert_with(|| Arc::new(Semaphore::new(FOR_ONE))).clone();
        Some(Self { wanted, machine, address, slots })
    }
}

impl Drop for Wish<'_> {
    fn drop(&mut self) {
        let mut all = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        all.machines.remove(self.machine);
        // The list's own, and this one.
        if Arc::strong_count(&self.slots) == 2 {
            all.addresses.remove(&self.address);
        }
    }
}

impl Tokens {
    /// Tokens that the command `words` prints; it runs without a shell.
    ///
    /// # Errors
    /// There is no such program.
    pub fn new(words: Vec<String>) -> Result<Self> {
        let program = words.first().map(String::as_str).unwrap_or_default();
        if !is_there(program, std::env::var_os("PATH").unwrap_or_default().as_os_str()) {
            let message = format!("--token-command {program}: there is no such program");
            return Err(Error::new(ErrorKind::Usage, message)
                .help("install it, or write its whole path; it runs without a shell"));
        }
        Ok(Self { words, slots: Semaphore::new(AT_ONCE), wanted: Mutex::default() })
    }

    /// A new token for `machine`, which asks from `address`.
    ///
    /// # Errors
    /// Why there is none, without its text.
    pub async fn make(&self, machine: &Arc<str>, address: IpAddr) -> std::result::Result<String, String> {
        let wish = Wish::new(&self.wanted, machine, address).ok_or("one is being made for it already")?;
        let _own = wish.slots.acquire().await.map_err(|_| "the server is ending")?;
        let _slot = self.slots.acquire().await.map_err(|_| "the server is ending")?;
        self.run().await
    }

    async fn run(&self) -> std::result::Result<String, String> {
        let (program, arguments) = self.words.split_first().ok_or("there is no token command")?;
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("starting {program}: {error}"))?;
        let (mut output, mut errors) = (Vec::new(), Vec::new());
        let pipes = (child.stdout.take(), child.stderr.take());
        let run = async {
            let reading = async { tokio::join!(read(pipes.0, &mut output), read(pipes.1, &mut errors)) };
            tokio::pin!(reading);
            tokio::select! {
                _ = &mut reading => child.wait().await,
                status = child.wait() => {
                    // What is in the pipes already is read; a process that it left behind may keep them open.
                    let _ = tokio::time::timeout(LAST_WORDS, reading).await;
                    status
                }
            }
        };
        let status = tokio::time::timeout(LIMIT, run)
            .await
            .map_err(|_| format!("{program} took longer than {} s", LIMIT.as_secs()))?;
        let (output, errors) = (String::from_utf8_lossy(&output), String::from_utf8_lossy(&errors));
        let status = status.map_err(|error| format!("waiting for {program}: {error}"))?;
        if !status.success() {
            let errors = without_tokens(errors.trim());
            let errors: String = visible_lines(&errors).chars().take(300).collect();
            return Err(format!("{program} failed ({status}): {errors}"));
        }
        let token = output.trim();
        if !is_token(token) {
            return Err(format!("{program} did not print a bootstrap token alone"));
        }
        Ok(token.to_owned())
    }
}

/// A program that fails may have printed the token that it made.
fn without_tokens(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        if rest.get(..LENGTH).is_some_and(is_token) {
            shown.push_str("***");
            rest = &rest[LENGTH..];
        } else {
            shown.push(letter);
            rest = &rest[letter.len_utf8()..];
        }
    }
    shown
}

/// The start of what a program prints; the rest is thrown away.
async fn read(from: Option<impl AsyncRead + Unpin>, kept: &mut Vec<u8>) {
    if let Some(mut from) = from {
        let _ = (&mut from).take(LONGEST_OUTPUT).read_to_end(kept).await;
        let _ = tokio::io::copy(&mut from, &mut tokio::io::sink()).await;
    }
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
    use std::ffi::OsStr;

    use super::*;

    #[test]
    fn a_token_in_an_error_is_hidden() {
        for (text, expected) in [
            ("token=abcdef.0123456789abcdef, then: refused", "token=***, then: refused"),
            ("größer abcdef.0123456789abcdefabcdef.0123456789abcdef", "größer ******"),
            ("xxabcdef.0123456789abcdef", "xx***"),
            ("no such cluster: k8s.example", "no such cluster: k8s.example"),
        ] {
            assert_eq!(without_tokens(text), expected);
        }
    }

    #[test]
    fn a_process_that_the_command_leaves_behind_keeps_nobody_waiting() {
        let words = ["sh", "-c", "sleep 50 & echo abcdef.0123456789abcdef"].map(str::to_owned).to_vec();
        let began = std::time::Instant::now();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let token = runtime.block_on(async { Tokens::new(words).unwrap().run().await });
        assert_eq!(token, Ok("abcdef.0123456789abcdef".to_owned()));
        assert!(began.elapsed() < Duration::from_secs(40));
    }

    #[test]
    fn one_address_or_machine_leaves_others_their_turn() {
        let folder = tempfile::tempdir().unwrap();
        let gate = folder.path().join("gate");
        let script =
            format!("until [ -e {} ]; do sleep 0.05; done; echo abcdef.0123456789abcdef", gate.display());
        let tokens = Arc::new(Tokens::new(["sh", "-c", &script].map(str::to_owned).to_vec()).unwrap());
        let ask = |machine: &str, address: [u8; 4]| {
            let (tokens, machine) = (tokens.clone(), Arc::<str>::from(machine));
            tokio::spawn(async move { tokens.make(&machine, IpAddr::from(address)).await })
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut all: Vec<_> =
                (0..9).map(|number| ask(&format!("greedy-{number}"), [10, 0, 0, 1])).collect();
            let refused = ask("greedy-0", [10, 0, 0, 2]).await.unwrap().unwrap_err();
            assert!(refused.contains("already"), "{refused}");
            assert_eq!(tokens.slots.available_permits(), AT_ONCE - FOR_ONE);
            all.push(ask("other", [10, 0, 0, 3]));
            while tokens.slots.available_permits() > 0 {
                tokio::task::yield_now().await;
            }
            std::fs::write(&gate, "").unwrap();
            for token in all {
                assert!(token.await.unwrap().is_ok());
            }
        });
        assert!(tokens.wanted.lock().unwrap().addresses.is_empty());
    }

    #[test]
    fn a_program_that_is_missing_is_named_before_a_machine_asks() {
        let path = OsStr::new("/nowhere:/bin:/usr/bin");
        for (program, expected) in [
            ("sh", true),
            ("/bin/sh", true),
            ("kubeadmm", false),
            ("", false),
            ("/bin", false),
            ("/etc/passwd", false),
        ] {
            assert_eq!(is_there(program, path), expected, "{program}");
        }
        let error = Tokens::new(vec!["/nowhere/kubeadm".to_owned()]).unwrap_err();
        assert!(error.to_string().contains("--token-command /nowhere/kubeadm"), "{error}");
    }

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
