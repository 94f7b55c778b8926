//! Hyper-V's key-value pairs in the files of `hv_kvp_daemon`
//! (<https://learn.microsoft.com/virtualization/hyper-v-on-windows/reference/integration-services>;
//! linux/tools/hv/hv_kvp_daemon.c).
//!
//! A pool is a sequence of records: 512 bytes for the key, 2048 for the value, each UTF-8 and filled with
//! NULs.
//!
//! | pool | who writes it |
//! |---|---|
//! | 0 | the host: what its administrator gives the machine |
//! | 1 | the machine: what it reports to the host |
//! | 3 | the host: what the machine is called |

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use zeroize::Zeroizing;

use super::root::Root;
use crate::error::{Context, ErrorKind, Failure, Result};
use crate::paths;

/// Bytes of a key.
pub const KEY: usize = 512;
/// Bytes of a value.
pub const VALUE: usize = 2048;
/// Bytes of a record.
pub const RECORD: usize = KEY + VALUE;
/// Bytes of a value that the host can show.
pub const SHOWN_VALUE: usize = 1024;
/// The pool for pairs from the guest to the host.
pub(crate) const GUEST: u8 = 1;
/// Limit on the records.
const MOST: usize = 2048;
/// Number of attempts to get the lock from the daemon, and the pause between them.
const ATTEMPTS: (u32, Duration) = (20, Duration::from_millis(50));

/// A pair; its value may be a secret.
pub struct Pair {
    /// The key.
    pub key: String,
    /// The value.
    pub value: Zeroizing<Vec<u8>>,
}

/// The file of a pool.
pub fn path(root: &Root, pool: u8) -> PathBuf {
    root.path(paths::kvp_pool(pool))
}

/// The pairs of a pool; none if there is no such pool. A truncated record is left out.
pub fn read(path: &Path) -> Result<Option<Vec<Pair>>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.doing(reading(path))?,
    };
    let length = usize::try_from(file.metadata().doing(reading(path))?.len())
        .unwrap_or(usize::MAX)
        .min(MOST * RECORD);
    let mut bytes = Zeroizing::new(vec![0; length]);
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, filled as u64).doing(reading(path))? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(Some(pairs(bytes.get(..filled).unwrap_or_default())))
}

fn reading(path: &Path) -> String {
    format!("reading {}", path.display())
}

/// The pairs in the bytes of a pool.
pub fn pairs(bytes: &[u8]) -> Vec<Pair> {
    let text = |bytes: &[u8]| bytes.split(|byte| *byte == 0).next().unwrap_or_default().to_vec();
    let pair = |record: &[u8]| {
        let (key, value) = record.split_at_checked(KEY)?;
        let key = String::from_utf8_lossy(&text(key)).into_owned();
        (!key.is_empty()).then(|| Pair { key, value: Zeroizing::new(text(value)) })
    };
    bytes.chunks_exact(RECORD).take(MOST).filter_map(pair).collect()
}

/// The bytes of a pair; none if the key is empty, or if key or value is too long or has a NUL, which
/// ends them in the file.
pub fn record(key: &str, value: &str) -> Option<Vec<u8>> {
    let fits = |text: &str, length: usize| text.len() < length && !text.contains('\0');
    if key.is_empty() || !fits(key, KEY) || !fits(value, VALUE) {
        return None;
    }
    let mut bytes = vec![0; RECORD];
    let (front, back) = bytes.split_at_mut(KEY);
    front[..key.len()].copy_from_slice(key.as_bytes());
    back[..value.len()].copy_from_slice(value.as_bytes());
    Some(bytes)
}

/// Adds a record to the pool. The daemon reads whole records, so each is written at once.
pub fn append(root: &Root, key: &str, value: &str) -> Result<()> {
    let path = path(root, GUEST);
    let record = record(key, value)
        .ok_or_else(|| Failure::new(ErrorKind::Internal, format!("{key} is too long for a record")))?;
    let opened = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o644)
        .custom_flags(nix::libc::O_NOFOLLOW)
        .open(&path);
    let missing = |failure: Failure| {
        failure.help("install the daemon of the Hyper-V integration services (hv_kvp_daemon) into the image")
    };
    let mut pool = opened.doing(format_args!("opening {}", path.display())).map_err(missing)?;
    pool.write_all(&record).doing(format_args!("writing {}", path.display()))
}

/// The value of `name` or, if there is none, the joined values of `name.0`, `name.1` and so on. The numbers
/// start at 0 or 1.
pub fn joined(pairs: &[Pair], name: &str) -> Result<Option<Zeroizing<Vec<u8>>>> {
    let find = |key: &str| pairs.iter().find(|pair| pair.key == key);
    if let Some(whole) = find(name) {
        return Ok(Some(whole.value.clone()));
    }
    let number = |pair: &Pair| pair.key.strip_prefix(name)?.strip_prefix('.')?.parse::<usize>().ok();
    let mut parts: Vec<(usize, &Pair)> =
        pairs.iter().filter_map(|pair| Some((number(pair)?, pair))).collect();
    parts.sort_by_key(|part| part.0);
    let Some(first) = parts.first().map(|part| part.0) else { return Ok(None) };
    if first > 1 || parts.iter().enumerate().any(|(position, part)| part.0 != first + position) {
        return Err(Failure::new(
            ErrorKind::Source,
            format!("the pairs {name}.<n> of Hyper-V are not numbered one after another from 0 or 1"),
        ));
    }
    // Reserves all memory at once, because growing would leave copies of the secret.
    let mut all = Zeroizing::new(Vec::with_capacity(parts.iter().map(|part| part.1.value.len()).sum()));
    parts.iter().for_each(|part| all.extend_from_slice(&part.1.value));
    Ok(Some(all))
}

/// Overwrites the values of the pairs that `is_secret` selects, and makes the pool readable by root only.
/// Returns the number of these pairs.
pub fn overwrite(path: &Path, is_secret: impl Fn(&str) -> bool) -> Result<usize> {
    let doing = || format!("overwriting pairs in {}", path.display());
    let file = match OpenOptions::new().read(true).write(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        file => file.doing(doing())?,
    };
    file.set_permissions(std::fs::Permissions::from_mode(0o600)).doing(doing())?;
    lock(&file).doing(doing())?;
    let mut count = 0;
    let mut key = [0; KEY];
    for position in 0..MOST as u64 {
        let at = position * RECORD as u64;
        if file.read_exact_at(&mut key, at).is_err() {
            break;
        }
        let name = key.split(|byte| *byte == 0).next().unwrap_or_default();
        if is_secret(&String::from_utf8_lossy(name)) {
            file.write_all_at(&[0; VALUE], at + KEY as u64).doing(doing())?;
            count += 1;
        }
    }
    file.sync_all().doing(doing())?;
    Ok(count)
}

/// Takes the lock that the daemon uses too. It ends when the file is closed.
fn lock(file: &File) -> nix::Result<()> {
    let whole = libc::flock {
        l_type: libc::F_WRLCK as i16,
        l_whence: libc::SEEK_SET as i16,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    let (attempts, pause) = ATTEMPTS;
    for _ in 1..attempts {
        match fcntl(file, FcntlArg::F_SETLK(&whole)) {
            Err(nix::Error::EAGAIN | nix::Error::EACCES) => std::thread::sleep(pause),
            done => return done.map(drop),
        }
    }
    fcntl(file, FcntlArg::F_SETLK(&whole)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(entries: &[(&str, &str)]) -> Vec<u8> {
        entries.iter().flat_map(|(key, value)| record(key, value).unwrap()).collect()
    }

    fn all(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
        pairs(bytes).into_iter().map(|pair| (pair.key, pair.value.to_vec())).collect()
    }

    #[test]
    fn what_is_written_can_be_read() {
        let longest = ("k".repeat(KEY - 1), "v".repeat(VALUE - 1));
        let bytes = pool(&[("a", "1"), (&longest.0, &longest.1), ("empty", "")]);
        assert_eq!(bytes.len(), 3 * RECORD);
        let expected = [
            ("a".to_owned(), b"1".to_vec()),
            (longest.0, longest.1.into_bytes()),
            ("empty".to_owned(), Vec::new()),
        ];
        assert_eq!(all(&bytes), expected);
        assert_eq!(all(&bytes[..bytes.len() - 1]), expected[..2], "a record that is cut off");
        assert_eq!(all(&[0; RECORD]), []);
        assert_eq!(all(&[b'x'; RECORD]).len(), 1, "nothing ends the key but its place");
        for (key, value) in
            [("", "x"), ("a\0b", ""), ("a", "b\0"), (&"k".repeat(KEY), ""), ("a", &"v".repeat(VALUE))]
        {
            assert!(record(key, value).is_none());
        }
    }

    #[test]
    fn parts_are_joined_in_the_order_of_their_numbers() {
        for (entries, expected) in [
            (
                vec![
                    ("c.10", "k"),
                    ("c.1", "b"),
                    ("c.0", "a"),
                    ("c.2", "c"),
                    ("c.3", "d"),
                    ("c.4", "e"),
                    ("c.5", "f"),
                    ("c.6", "g"),
                    ("c.7", "h"),
                    ("c.8", "i"),
                    ("c.9", "j"),
                ],
                Some("abcdefghijk"),
            ),
            (vec![("c.1", "a"), ("c.2", "b")], Some("ab")),
            (vec![("c.1", "a"), ("c", "whole")], Some("whole")),
            (vec![("c.x", "a"), ("cc.0", "b"), ("d", "c")], None),
        ] {
            let found = joined(&pairs(&pool(&entries)), "c").unwrap().map(|value| value.to_vec());
            assert_eq!(found, expected.map(|text| text.as_bytes().to_vec()));
        }
        for entries in
            [vec![("c.0", "a"), ("c.2", "b")], vec![("c.2", "a")], vec![("c.1", "a"), ("c.01", "b")]]
        {
            assert!(joined(&pairs(&pool(&entries)), "c").unwrap_err().message.contains("one after another"));
        }
    }

    #[test]
    fn secrets_are_overwritten_and_others_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pool");
        assert_eq!(overwrite(&path, |_| true).unwrap(), 0);
        std::fs::write(&path, pool(&[("secret.0", "canary"), ("other", "kept"), ("secret.1", "canary")]))
            .unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(overwrite(&path, |key| key.starts_with("secret.")).unwrap(), 2);
        let bytes = std::fs::read(&path).unwrap();
        assert!(!bytes.windows(6).any(|window| window == b"canary"));
        assert_eq!(
            all(&bytes).iter().map(|(key, value)| (key.as_str(), value.len())).collect::<Vec<_>>(),
            [("secret.0", 0), ("other", 4), ("secret.1", 0)]
        );
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
