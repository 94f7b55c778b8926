//! cpio archives as the kernel unpacks them into its initramfs: "newc"
//! (the kernel's Documentation/driver-api/early-userspace/buffer-format.rst).
//!
//! ```text
//! 110 bytes of header in hexadecimal, name and a zero byte, zeros to a multiple of 4, content, zeros to a multiple of 4; …; TRAILER!!!
//! ```
//!
//! Archives are padded to 512 bytes, so one can be appended to another, compressed or not.

use std::io::{self, Read, Write};

use crate::error::{Error, ErrorKind, IoContext, Result};

/// Archives end on multiples of this.
pub const BLOCK: u64 = 512;

/// Length of a header, without the name.
const HEADER: u64 = 110;

const REGULAR: u32 = 0o100_000;
const FOLDER: u32 = 0o040_000;
const CHARACTER_DEVICE: u32 = 0o020_000;

/// Writes an archive whose entries all belong to root and carry one time.
pub struct CpioWriter<W> {
    out: W,
    time: u32,
    entries: u32,
    written: u64,
}

#[derive(Default)]
struct Header {
    mode: u32,
    links: u32,
    len: u32,
    device: (u32, u32),
}

impl<W: Write> CpioWriter<W> {
    /// An archive into `out`; `epoch` in seconds since 1970 is the time of all entries.
    ///
    /// # Errors
    /// When the time does not fit: after 2106.
    pub fn new(out: W, epoch: u64) -> Result<Self> {
        let time = u32::try_from(epoch).map_err(|_| {
            Error::new(ErrorKind::Usage, format!("a cpio archive cannot hold the time {epoch}"))
                .help("set a smaller SOURCE_DATE_EPOCH")
        })?;
        Ok(Self { out, time, entries: 0, written: 0 })
    }

    /// Adds a folder. Parents come first: the kernel makes none itself.
    pub fn folder(&mut self, path: &str, mode: u32) -> Result<()> {
        self.entry(path, &Header { mode: FOLDER | mode, links: 2, ..Header::default() })
    }

    /// Adds a character device.
    pub fn character_device(&mut self, path: &str, mode: u32, device: (u32, u32)) -> Result<()> {
        self.entry(path, &Header { mode: CHARACTER_DEVICE | mode, links: 1, device, ..Header::default() })
    }

    /// Adds a file of `len` bytes that `content` yields.
    ///
    /// # Errors
    /// When the file has 4 GiB or more, which the format cannot say, or another length than promised.
    pub fn file(
        &mut self,
        path: &str,
        mode: u32,
        len: u64,
        content: &mut (impl Read + ?Sized),
    ) -> Result<()> {
        let short = u32::try_from(len).map_err(|_| {
            Error::new(
                ErrorKind::Definition,
                format!("{path} has {len} bytes; an initrd cannot hold a file of 4 GiB or more"),
            )
            .help("make the image smaller, or leave out the network boot output")
        })?;
        self.entry(path, &Header { mode: REGULAR | mode, links: 1, len: short, ..Header::default() })?;
        let copied = io::copy(&mut content.take(len), &mut self.out).at("writing to the initrd", path)?;
        if copied != len {
            return Err(Error::new(ErrorKind::Io, format!("{path} ended after {copied} of {len} bytes")));
        }
        self.written += copied;
        self.pad(4).at("writing to the initrd", path)
    }

    /// Adds a file from memory.
    pub fn bytes(&mut self, path: &str, mode: u32, content: &[u8]) -> Result<()> {
        self.file(path, mode, content.len() as u64, &mut &*content)
    }

    /// Adds a file from memory whose content begins at a multiple of `alignment`, a power of two from 4 on.
    /// Zeros at the end of its name make room: readers take the first for the end of the name.
    pub fn aligned_bytes(&mut self, path: &str, mode: u32, content: &[u8], alignment: u64) -> Result<()> {
        let begins = (self.written + HEADER + path.len() as u64 + 1).next_multiple_of(4);
        let room = begins.next_multiple_of(alignment) - begins;
        let name = format!("{path}{}", "\0".repeat(usize::try_from(room).expect("less than the alignment")));
        self.bytes(&name, mode, content)
    }

    /// Ends the archive.
    pub fn finish(mut self) -> Result<W> {
        self.entries = 0;
        self.time = 0;
        let number = Header { links: 1, ..Header::default() };
        self.header("TRAILER!!!", 0, &number)
            .and_then(|()| self.pad(BLOCK))
            .at("ending", "the initrd")?;
        Ok(self.out)
    }

    fn entry(&mut self, path: &str, header: &Header) -> Result<()> {
        self.entries += 1;
        self.header(path, self.entries, header).at("writing to the initrd", path)
    }

    fn header(&mut self, name: &str, number: u32, header: &Header) -> io::Result<()> {
        let (major, minor) = header.device;
        let name_len = name.len() as u32 + 1;
        let fields =
            [number, header.mode, 0, 0, header.links, self.time, header.len, 0, 0, major, minor, name_len, 0];
        self.put(b"070701")?;
        for field in fields {
            self.put(format!("{field:08x}").as_bytes())?;
        }
        self.put(name.as_bytes())?;
        self.put(&[0])?;
        self.pad(4)
    }

    fn pad(&mut self, multiple: u64) -> io::Result<()> {
        let missing = self.written.next_multiple_of(multiple) - self.written;
        self.put(&vec![0; usize::try_from(missing).expect("less than a block")])
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.written += bytes.len() as u64;
        self.out.write_all(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    fn archive() -> Vec<u8> {
        let mut cpio = CpioWriter::new(Vec::new(), 1_577_836_800).unwrap();
        cpio.folder("dev", 0o755).unwrap();
        cpio.character_device("dev/null", 0o666, (1, 3)).unwrap();
        cpio.bytes("init", 0o755, b"12345").unwrap();
        cpio.finish().unwrap()
    }

    #[test]
    fn headers_are_as_documented() {
        let bytes = archive();
        assert_eq!(bytes.len() as u64 % BLOCK, 0);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let first = "07070100000001000041ed0000000000000000000000025e0be10000000000000000000000000000000000000000000000000400000000dev\0";
        assert!(text.starts_with(first), "{text}");
        assert!(
            text.contains(
                "070701000000030000\
            81ed0000000000000000000000015e0be1000000000500000000000000000000000000000000\
            0000000500000000init\0"
            ),
            "{text}"
        );
        assert_eq!(bytes, archive());
    }

    #[test]
    fn a_file_of_another_length_is_an_error() {
        let mut cpio = CpioWriter::new(Vec::new(), 0).unwrap();
        let error = cpio.file("short", 0o644, 9, &mut &b"12345"[..]).unwrap_err();
        assert!(error.message().contains("5 of 9"), "{error}");
        let error = cpio.file("huge", 0o644, 1 << 32, &mut io::empty()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Definition);
        assert!(CpioWriter::new(Vec::new(), u64::MAX).is_err());
    }

    #[test]
    fn the_content_of_an_aligned_file_begins_at_a_multiple() {
        for path in ["a", "ab", "abc", "abcdefghijkl"] {
            let mut cpio = CpioWriter::new(Vec::new(), 0).unwrap();
            cpio.aligned_bytes(path, 0o644, b"content", 16).unwrap();
            let bytes = cpio.finish().unwrap();
            let at = bytes.windows(7).position(|part| part == b"content").unwrap();
            assert_eq!(at % 16, 0, "{path}");
        }
    }

    #[test]
    fn gnu_cpio_reads_it() {
        let Ok(mut cpio) = Command::new("cpio")
            .arg("-itv")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
        else {
            return testkit::not_run("gnu_cpio_reads_it", "cpio is not installed");
        };
        cpio.stdin.take().unwrap().write_all(&archive()).unwrap();
        let listed = String::from_utf8(cpio.wait_with_output().unwrap().stdout).unwrap();
        let lines: Vec<_> = listed.lines().collect();
        assert_eq!(lines.len(), 3, "{listed}");
        assert!(
            lines[0].starts_with("drwxr-xr-x")
                && lines[1].starts_with("crw-rw-rw-")
                && lines[1].contains("1,   3"),
            "{listed}"
        );
        assert!(lines[2].starts_with("-rwxr-xr-x") && lines[2].ends_with("init"), "{listed}");
    }
}
