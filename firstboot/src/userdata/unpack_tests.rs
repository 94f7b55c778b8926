use std::io::Write;

use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

use super::*;

/// The output of `printf 'hello hello hello hello\n' | zstd`, with the checksum.
const BY_ZSTD: &[u8] = &[
    0x28, 0xb5, 0x2f, 0xfd, 0x04, 0x58, 0x6d, 0x00, 0x00, 0x38, 0x68, 0x65, 0x6c, 0x6c, 0x6f, 0x20, 0x0a,
    0x01, 0x00, 0x99, 0x4b, 0x11, 0xa8, 0x7c, 0x2e, 0xa8,
];

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstandard(bytes: &[u8]) -> Vec<u8> {
    compress_to_vec(bytes, CompressionLevel::Fastest)
}

type Unpack = fn(&[u8], &Budget) -> Result<Bytes>;
type Wrap = fn(&[u8]) -> Vec<u8>;

/// A form of packing, with its decoder and encoder.
const WRAPPINGS: &[(&str, Unpack, Wrap)] = &[
    ("gzip", gzip, gzipped),
    ("zstd", zstd, zstandard),
    ("base64", base64, |bytes| STANDARD.encode(bytes).into_bytes()),
];

#[test]
fn what_was_wrapped_comes_back() {
    let noise: Vec<u8> =
        (0_u32..200_000).map(|number| (number.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    for (name, unpack, wrap) in WRAPPINGS {
        for bytes in [&b"token: x\n"[..], b"", &[b'a'; 300_000], &noise] {
            let unpacked = unpack(&wrap(bytes), &Budget::default()).unwrap();
            assert!(unpacked.as_slice() == bytes, "{name}: {} bytes", bytes.len());
        }
    }
}

#[test]
fn what_is_cut_short_or_followed_by_something_is_refused() {
    for (name, unpack, wrap) in WRAPPINGS.iter().filter(|(name, ..)| *name != "base64") {
        let whole =
            wrap(b"apiVersion: kubeadm.k8s.io/v1beta4, and more of it, and more of it, and more of it");
        for length in 1..whole.len() {
            assert!(
                unpack(&whole[..length], &Budget::default()).is_err(),
                "{name}: {length} of {} bytes",
                whole.len()
            );
        }
        let surplus = if *name == "gzip" { b"\n" } else { &whole[..] };
        for surplus in [&[&whole[..], surplus].concat()[..], &[&whole[..], b"\x1f"].concat()] {
            let failure = unpack(surplus, &Budget::default()).unwrap_err();
            assert!(failure.message.ends_with(&format!("bytes follow the {name} data")), "{failure}");
        }
    }
}

#[test]
fn several_members_of_gzip_are_one_text_within_the_ceiling() {
    let members = [gzipped(b"#cloud-"), gzipped(b""), gzipped(b"config\n")].concat();
    assert_eq!(gzip(&members, &Budget::default()).unwrap().as_slice(), b"#cloud-config\n");
    for cut in [members.len() - 1, members.len() - 30] {
        assert!(gzip(&members[..cut], &Budget::default()).is_err(), "{cut}");
    }
    let half = gzipped(&vec![0; CEILING / 2 + 1]);
    assert!(gzip(&[half.clone(), half].concat(), &Budget::default()).is_err());
}

#[test]
fn damage_is_noticed() {
    let mut damaged = gzipped(b"hello");
    let length = damaged.len();
    damaged[length - 6] ^= 1;
    assert!(gzip(&damaged, &Budget::default()).is_err());
    let mut damaged = BY_ZSTD.to_vec();
    let length = damaged.len();
    damaged[length - 1] ^= 1;
    assert!(zstd(&damaged, &Budget::default()).unwrap_err().message.contains("checksum"));
    for text in ["a", "=", "aGVsbG8=aGVsbG8=", "aGVs*G8=", "aGVsbG9="] {
        assert!(base64(text.as_bytes(), &Budget::default()).is_err(), "{text}");
    }
    assert_eq!(base64(b" aGVs\r\n\tbG8\n", &Budget::default()).unwrap().as_slice(), b"hello");
}

#[test]
fn bombs_end_at_the_ceiling() {
    let bomb = vec![0; CEILING + 1];
    for (name, unpack, wrap) in &WRAPPINGS[..2] {
        let wrapped = wrap(&bomb);
        assert!(wrapped.len() < CEILING / 50, "{name}: {}", wrapped.len());
        let failure = unpack(&wrapped, &Budget::default()).unwrap_err();
        assert!(failure.message.contains("more than 8 MiB"), "{name}: {failure}");
        assert_eq!(unpack(&wrap(&bomb[1..]), &Budget::default()).unwrap().len(), CEILING, "{name}");
    }
    let budget = Budget::default();
    gzip(&gzipped(&bomb[..CEILING / 2]), &budget).unwrap();
    assert!(gzip(&gzipped(&bomb[..CEILING / 2 + 1]), &budget).is_err(), "the ceiling is one for all layers");
}

#[test]
fn zstd_reads_what_the_program_writes_and_bounds_its_window() {
    assert_eq!(zstd(BY_ZSTD, &Budget::default()).unwrap().as_slice(), b"hello hello hello hello\n");
    // A frame whose header asks for a window of 16 MiB: exponent 14.
    let wide = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 14 << 3, 0x01, 0x00, 0x00];
    assert!(zstd(&wide, &Budget::default()).unwrap_err().message.contains("window"));
    let narrow = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 13 << 3, 0x01, 0x00, 0x00];
    assert!(zstd(&narrow, &Budget::default()).unwrap().is_empty());
}
