//! The store, the network and the terminal of one command.

use std::path::{Path, PathBuf};

use crate::base::{self, BaseRequest, LockedBase};
use crate::cli::FetchOptions;
use crate::definition::plan::ImagePlan;
use crate::error::{Error, ErrorKind, Result};
use crate::fetch::{Fetcher, Options};
use crate::lock::{Lock, drift, update};
use crate::progress::Progress;
use crate::store::Store;

/// The store, the network and the terminal of one command.
#[derive(Debug)]
pub struct Session {
    pub store: Store,
    /// Where progress is shown.
    pub progress: Progress,
    options: Options,
    base: base::Options,
}

impl Session {
    /// Opens the store and checks the options.
    pub fn open(options: &FetchOptions, progress: Progress) -> Result<Self> {
        let mirrors = options.mirrors.iter().map(|text| text.parse()).collect::<Result<Vec<_>>>()?;
        Ok(Self {
            store: open_store(options.cache_dir.as_deref())?,
            progress,
            options: Options {
                offline: options.offline,
                mirrors,
                allow_unauthenticated: options.allow_unauthenticated_checksums,
                ..Options::default()
            },
            base: options.base.clone(),
        })
    }

    /// The way to fetch.
    pub fn fetcher(&self) -> Result<Fetcher<'_>> {
        Fetcher::new(&self.store, self.options.clone(), &self.progress)
    }

    /// The context in which a base is locked and fetched.
    pub fn base_context<'a>(&'a self, fetcher: &'a Fetcher<'a>) -> base::Context<'a> {
        base::Context { options: &self.base, store: &self.store, fetcher, progress: &self.progress }
    }

    /// Pins a base.
    pub fn lock_base(&self, request: &BaseRequest<'_>) -> Result<LockedBase> {
        base::of(request.plan)?.lock(request, &self.base_context(&self.fetcher()?))
    }

    /// The lock of a build. A lock that does not match `plan` is updated and written, unless `locked` forbids
    /// it.
    pub fn lock_for(&self, plan: &ImagePlan, path: &Path, seed: Option<&Path>, locked: bool) -> Result<Lock> {
        let old = match Lock::read(path)? {
            Some(lock) => Some(lock),
            None => seed.map(Lock::read).transpose()?.flatten(),
        };
        let differences = match &old {
            Some(lock) => drift::differences(plan, lock),
            None if locked => return Err(no_lock(path)),
            None => vec![format!("there is no lock {}", path.display())],
        };
        match old {
            Some(lock) if differences.is_empty() => return Ok(lock),
            _ if locked => return Err(drifted(path, &differences)),
            _ => {}
        }
        self.progress.note(&format!("locking {}: {}", path.display(), differences.join("; ")));
        let policy = update::Policy::default();
        let lock =
            update::update(plan, old.as_ref(), &policy, &self.fetcher()?, |request| self.lock_base(request))?;
        lock.write(path)?;
        Ok(lock)
    }
}

const WRITE_LOCK: &str = "run kiln lock with the same options, and commit the lock file";

/// Opens the store in `folder`, or in the user's default place.
pub fn open_store(folder: Option<&Path>) -> Result<Store> {
    match folder {
        Some(folder) => Store::open(folder),
        None => Store::open(&Store::default_root()?),
    }
}

/// The error for a lock file that does not exist.
pub fn no_lock(path: &Path) -> Error {
    Error::new(ErrorKind::Lock, format!("there is no lock file {}", path.display())).help(WRITE_LOCK)
}

/// The error for a lock file that does not match.
pub fn drifted(path: &Path, differences: &[String]) -> Error {
    let list: String = differences.iter().map(|difference| format!("\n  - {difference}")).collect();
    Error::new(
        ErrorKind::Lock,
        format!("the lock file {} does not match the definition:{list}", path.display()),
    )
    .help(WRITE_LOCK)
}

/// Where the lock of a definition is: `--lock`, else beside it; with `--set` in the output folder, so that a
/// trial leaves the committed lock alone.
pub fn lock_path(explicit: Option<&Path>, beside: &Path, has_sets: bool, output_dir: &Path) -> PathBuf {
    match explicit {
        Some(path) => path.to_owned(),
        None if has_sets => output_dir.join(beside.file_name().unwrap_or_default()),
        None => beside.to_owned(),
    }
}
