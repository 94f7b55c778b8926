//! Tars written byte by byte, including invalid ones that no library would write.

use std::io::Write;

/// A tar under construction.
#[derive(Default, Clone)]
pub(crate) struct Raw(pub(crate) Vec<u8>);

impl Raw {
    /// A header with these fields, and `body` padded to whole blocks. `size` is the value in the header,
    /// which may be wrong.
    pub(crate) fn member(mut self, name: &[u8], kind: u8, size: &str, link: &[u8], body: &[u8]) -> Self {
        let mut block = [0_u8; 512];
        block[..name.len()].copy_from_slice(name);
        block[100..108].copy_from_slice(if kind == b'5' { b"0000755\0" } else { b"0006755\0" });
        block[108..116].copy_from_slice(b"0001750\0");
        block[116..124].copy_from_slice(b"0001750\0");
        block[124..124 + size.len()].copy_from_slice(size.as_bytes());
        block[136..148].copy_from_slice(b"13601463000\0");
        block[148..156].fill(b' ');
        block[156] = kind;
        block[157..157 + link.len()].copy_from_slice(link);
        block[257..265].copy_from_slice(b"ustar\x0000");
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0.extend_from_slice(&block);
        self.0.extend_from_slice(body);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    /// A valid member of any type.
    pub(crate) fn honest(self, name: &str, kind: u8, link: &str, body: &[u8]) -> Self {
        let size = format!("{:011o}\0", body.len());
        self.member(name.as_bytes(), kind, &size, link.as_bytes(), body)
    }

    pub(crate) fn file(self, name: &str, body: &[u8]) -> Self {
        self.honest(name, b'0', "", body)
    }

    pub(crate) fn folder(self, name: &str) -> Self {
        self.honest(name, b'5', "", b"")
    }

    pub(crate) fn symlink(self, name: &str, target: &str) -> Self {
        self.honest(name, b'2', target, b"")
    }

    pub(crate) fn hardlink(self, name: &str, target: &str) -> Self {
        self.honest(name, b'1', target, b"")
    }

    /// A pax header with one record.
    pub(crate) fn pax(self, key: &str, value: &[u8]) -> Self {
        self.honest("pax", b'x', "", &record(key, value))
    }

    pub(crate) fn end(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 1024]);
        self.0
    }
}

/// A pax record, its length found by trying.
pub(crate) fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let length = (rest..).find(|length| rest + length.to_string().len() == *length).unwrap();
    [format!("{length} {key}=").as_bytes(), value, b"\n"].concat()
}

pub(crate) fn bzip2(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ::bzip2::write::BzEncoder::new(Vec::new(), ::bzip2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 0);
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn zstd(bytes: &[u8]) -> Vec<u8> {
    ::zstd::encode_all(bytes, 1).unwrap()
}

/// A Debian package whose last member is `name` with `data`.
pub(crate) fn deb(name: &str, data: &[u8]) -> Vec<u8> {
    let mut ar = b"!<arch>\n".to_vec();
    for (name, body) in [("debian-binary", &b"2.0\n"[..]), ("control.tar.xz", b"odd"), (name, data)] {
        ar.extend_from_slice(
            format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 100_644, body.len()).as_bytes(),
        );
        ar.extend_from_slice(body);
        if ar.len() % 2 == 1 {
            ar.push(b'\n');
        }
    }
    ar
}
