//! One download: writes bytes to a file and hashes them as they arrive, resumes after an interruption, and
//! verifies at the end.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use sha2::{Digest as _, Sha256, Sha512};

use crate::digest::Digest;
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::fetch::attempt::{self, Failure};
use crate::fetch::checksum::Expected;
use crate::fetch::client::{Client, Resume, Source};
use crate::fetch::mirror::Place;
use crate::progress::Step;
use crate::store;

/// Bytes per read: large enough to make system calls cheap, small enough to stop soon.
const CHUNK: usize = 128 << 10;

/// An attempt with this many new bytes counts as progress.
const ADVANCE: u64 = 1 << 20;

/// The expected result.
pub(super) struct Target<'a> {
    /// The digest; without one, whatever a place serves in one piece is right.
    pub expected: Option<&'a Expected>,
    /// Exact length, when it is known.
    pub size: Option<u64>,
    /// The limit if the length is not known.
    pub ceiling: u64,
}

/// A file that is being written. `hashes` always cover its first `resume.offset` bytes, which is its length.
pub(super) struct Transfer<'a> {
    target: Target<'a>,
    file: &'a File,
    path: &'a Path,
    step: &'a Step,
    stop: &'a AtomicBool,
    hashes: Hashes,
    resume: Resume,
    /// The place that sent the tag in `resume`.
    place: Option<Place>,
    /// The maximum length that the file has had.
    reached: u64,
    /// Whether the bytes come from more than one attempt.
    pieced: bool,
    /// Whether bytes from several attempts were wrong before.
    mistrusted: bool,
}

struct Hashes {
    sha256: Sha256,
    sha512: Option<Sha512>,
}

impl<'a> Transfer<'a> {
    /// Continues with the bytes that an earlier download left in `file`.
    pub fn new(
        target: Target<'a>,
        file: &'a File,
        path: &'a Path,
        step: &'a Step,
        stop: &'a AtomicBool,
    ) -> Result<Self> {
        let hashes = Hashes::new(target.expected);
        let mut transfer = Self {
            target,
            file,
            path,
            step,
            stop,
            hashes,
            resume: Resume::default(),
            place: None,
            reached: 0,
            pieced: false,
            mistrusted: false,
        };
        transfer.take_over()?;
        Ok(transfer)
    }

    /// Whether the existing bytes are the complete file.
    pub fn complete(&self) -> bool {
        self.resume.offset > 0 && self.matches()
    }

    /// Fetches the missing bytes from `place` and verifies the whole file.
    pub fn attempt(&mut self, client: &Client, place: &Place) -> Result<(), Failure> {
        if self.place.as_ref() != Some(place) {
            self.place = Some(place.clone());
            self.resume.tag = None;
        }
        let nothing_to_compare = self.target.expected.is_none() && self.resume.offset > 0;
        if nothing_to_compare || self.target.size.is_some_and(|size| size == self.resume.offset) {
            // All bytes exist but are wrong, otherwise `complete` would be true.
            self.restart()?;
        }
        let mut source = client.open(place, &self.resume)?;
        if source.offset != self.resume.offset {
            self.restart()?;
        }
        self.resume.tag = source.tag.take();
        self.pieced |= source.offset > 0;
        let before = self.reached;
        let outcome = self.pull(client, &mut source);
        self.reached = self.reached.max(self.resume.offset);
        match outcome {
            Err(Failure::Passing { error, after, .. }) => {
                Err(Failure::Passing { error, after, advanced: self.reached >= before + ADVANCE })
            }
            outcome => outcome,
        }
    }

    /// Digest and length of a finished transfer.
    pub fn result(self) -> (Digest, u64) {
        (self.hashes.sha256(), self.resume.offset)
    }

    fn take_over(&mut self) -> Result<()> {
        let length = self.file.metadata().at("reading", self.path)?.len();
        if length > self.limit() {
            return self.restart_file();
        }
        let mut left = self.file.take(length);
        let mut buffer = vec![0; CHUNK];
        loop {
            let count = left.read(&mut buffer).at("reading", self.path)?;
            if count == 0 {
                break;
            }
            self.hashes.update(&buffer[..count]);
            self.resume.offset += count as u64;
        }
        self.reached = self.resume.offset;
        self.step.set(self.resume.offset);
        Ok(())
    }

    fn pull(&mut self, client: &Client, source: &mut Source) -> Result<(), Failure> {
        let limit = self.limit();
        if let Some(total) = source
            .total
            .filter(|total| *total > limit || self.target.size.is_some_and(|size| size != *total))
        {
            self.restart()?;
            return Err(Failure::Place(self.wrong_length(&format!("is {total} bytes long"))));
        }
        let mut buffer = vec![0; CHUNK];
        while self.target.size != Some(self.resume.offset) {
            let count = self.read(client, source, &mut buffer)?;
            if count == 0 {
                break;
            }
            if self.resume.offset + count as u64 > limit {
                self.restart()?;
                return Err(Failure::Place(self.wrong_length("is longer")));
            }
            self.append(&buffer[..count])?;
        }
        self.judge(client, source, &mut buffer)
    }

    fn read(&self, client: &Client, source: &mut Source, buffer: &mut [u8]) -> Result<usize, Failure> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(attempt::stopped());
        }
        source
            .body
            .read(buffer)
            .map_err(|error| Failure::passing(client.broken(&error, self.resume.offset, source.total)))
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.file.write_all(bytes).at("writing", self.path).map_err(Failure::Final)?;
        self.hashes.update(bytes);
        self.resume.offset += bytes.len() as u64;
        self.step.advance(bytes.len() as u64);
        Ok(())
    }

    fn judge(&mut self, client: &Client, source: &mut Source, buffer: &mut [u8]) -> Result<(), Failure> {
        let length = self.resume.offset;
        let is_whole = source.total.is_none_or(|total| total == length);
        if self.matches() || (self.target.expected.is_none() && is_whole) {
            return Ok(());
        }
        if let Some(size) = self.target.size.or(source.total).filter(|size| length < *size) {
            return Err(Failure::passing(Error::new(
                ErrorKind::Fetch,
                format!("too short: {length} of {size} bytes came"),
            )));
        }
        let longer =
            self.target.size.is_some() && self.read(client, source, buffer).is_ok_and(|count| count > 0);
        let error = if longer { self.wrong_length("is longer") } else { self.wrong_content() };
        let again = self.pieced && !self.mistrusted;
        self.mistrusted |= again;
        self.restart()?;
        // The pieces may come from two different files. Only a file from one attempt proves that upstream is
        // wrong.
        Err(if again { Failure::passing(error) } else { Failure::Place(error) })
    }

    fn restart(&mut self) -> Result<(), Failure> {
        self.restart_file().map_err(Failure::Final)
    }

    fn restart_file(&mut self) -> Result<()> {
        let mut file = self.file;
        file.set_len(0).at("truncating", self.path)?;
        file.seek(SeekFrom::Start(0)).at("rewinding", self.path)?;
        self.hashes = Hashes::new(self.target.expected);
        self.resume = Resume::default();
        self.pieced = false;
        self.step.set(0);
        Ok(())
    }

    fn limit(&self) -> u64 {
        self.target.size.unwrap_or(self.target.ceiling)
    }

    fn matches(&self) -> bool {
        match (self.target.expected, &self.hashes.sha512) {
            (Some(Expected::Sha512(expected)), Some(found)) => expected[..] == found.clone().finalize()[..],
            (Some(Expected::Sha256(expected)), _) => *expected == self.hashes.sha256(),
            (Some(Expected::Sha512(_)), None) | (None, _) => false,
        }
    }

    fn wrong_content(&self) -> Error {
        let error = match (self.target.expected, &self.hashes.sha512) {
            (Some(expected @ Expected::Sha512(_)), Some(found)) => {
                let found = Expected::Sha512(found.clone().finalize().into());
                Error::new(
                    ErrorKind::Verification,
                    format!("wrong content\n  expected {expected}\n  found    {found}"),
                )
            }
            (Some(Expected::Sha256(expected)), _) => store::mismatch(expected, &self.hashes.sha256()),
            (Some(Expected::Sha512(_)), None) | (None, _) => {
                Error::new(ErrorKind::Internal, "no digest to compare was computed")
            }
        };
        error.help(REPLACED)
    }

    fn wrong_length(&self, found: &str) -> Error {
        match self.target.size {
            Some(size) => Error::new(
                ErrorKind::Verification,
                format!("wrong length: the lock says {size} bytes, the file {found}"),
            )
            .help(REPLACED),
            None => Error::new(
                ErrorKind::Fetch,
                format!("too long: the file {found}, the ceiling is {} bytes", self.target.ceiling),
            ),
        }
    }
}

impl Hashes {
    fn new(expected: Option<&Expected>) -> Self {
        let sha512 = matches!(expected, Some(Expected::Sha512(_))).then(Sha512::new);
        Self { sha256: Sha256::new(), sha512 }
    }

    fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        if let Some(sha512) = &mut self.sha512 {
            sha512.update(bytes);
        }
    }

    fn sha256(&self) -> Digest {
        Digest::from(<[u8; 32]>::from(self.sha256.clone().finalize()))
    }
}

/// Release files have been rebuilt under an old name: CNI plugins 1.4.1, CRI-O 1.29.1 and others.
const REPLACED: &str = "upstream replaced this file? (or the mirror has a wrong copy) compare with the project's release page; \
                        when the new file is right, accept it with `kiln lock`";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetch::Options;
    use crate::progress::Progress;

    #[test]
    fn a_full_disk_stops_everything() {
        let full = Path::new("/dev/full");
        let Ok(file) = File::options().read(true).write(true).open(full) else {
            return testkit::not_run("a_full_disk_stops_everything", "there is no /dev/full");
        };
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("source");
        std::fs::write(&source, [7; 1000]).unwrap();
        let (progress, stop, options) = (Progress::silent(), AtomicBool::new(false), Options::default());
        let expected = Expected::Sha256(Digest::of(&[7; 1000]));
        let target = Target { expected: Some(&expected), size: None, ceiling: options.ceiling };
        let step = progress.step("x");
        let mut transfer = Transfer::new(target, &file, full, &step, &stop).unwrap();
        let client = Client::new(options.route, options.connect, options.stall);
        match transfer.attempt(&client, &Place::Local(source)) {
            Err(Failure::Final(error)) => {
                assert_eq!(error.kind(), ErrorKind::Io);
                assert!(error.hint().unwrap().contains("free some space"), "{error}");
            }
            _ => panic!("the disk is full"),
        }
    }
}
