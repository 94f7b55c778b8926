//! The pools of Hyper-V's pairs: files of `hv_kvp_daemon` (linux/tools/hv/hv_kvp_daemon.c).

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use zeroize::Zeroizing;

use crate::error::{Context, ErrorKind, Failure, Result};
use crate::host::kvp::{GUEST, KEY, MOST, Pair, RECORD, VALUE, pairs, record};
use crate::host::root::Root;
use crate::paths;

/// Number of attempts to get the lock from the daemon, and the pause between them.
const ATTEMPTS: (u32, Duration) = (20, Duration::from_millis(50));

/// The file of a pool.
pub(crate) fn path(root: &Root, pool: u8) -> PathBuf {
    root.path(paths::kvp_pool(pool))
}

/// The pairs of a pool; none if there is no such pool. A truncated record is left out.
pub fn read(root: &Root, pool: u8) -> Result<Option<Vec<Pair>>> {
    let path = &path(root, pool);
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

/// Overwrites the values of the pairs that `is_secret` selects, and makes the pool readable by root only.
/// Returns the number of these pairs.
pub fn overwrite(root: &Root, pool: u8, is_secret: impl Fn(&str) -> bool) -> Result<usize> {
    let path = path(root, pool);
    let doing = || format!("overwriting pairs in {}", path.display());
    let file = match OpenOptions::new().read(true).write(true).open(&path) {
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

/// Whether the daemon will write the pool soon: the kernel has the channel.
pub fn is_awaited(root: &Root, pool: u8) -> bool {
    root.path(paths::HYPERV_KVP).exists() && !path(root, pool).exists()
}

/// What to say of a pool that is not there.
pub fn missing(root: &Root, pool: u8) -> String {
    format!(
        "{} is not there: hv_kvp_daemon, of the package hyperv-daemons, writes it",
        path(root, pool).display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_overwritten_and_others_left() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path());
        let path = path(&root, 0);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        assert_eq!(overwrite(&root, 0, |_| true).unwrap(), 0);
        let entries = [("secret.0", "canary"), ("other", "kept"), ("secret.1", "canary")];
        let pool: Vec<u8> = entries.iter().flat_map(|(key, value)| record(key, value).unwrap()).collect();
        std::fs::write(&path, pool).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(overwrite(&root, 0, |key| key.starts_with("secret.")).unwrap(), 2);
        let bytes = std::fs::read(&path).unwrap();
        assert!(!bytes.windows(6).any(|window| window == b"canary"));
        assert_eq!(
            pairs(&bytes).iter().map(|pair| (pair.key.clone(), pair.value.len())).collect::<Vec<_>>(),
            [("secret.0", 0), ("other", 4), ("secret.1", 0)].map(|(key, length)| (key.to_owned(), length))
        );
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
