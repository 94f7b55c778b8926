//! The engine for distributions whose packages apt resolves. A distribution is a row: [`debian`], [`ubuntu`].
//!
//! ```text
//! mirrors ─► resolve (network: apt in a private folder) ─► LockedPackage … ─► fetch ─► build (offline: mmdebstrap) ─► tar
//! ```
//!
//! The lock decides: [`build`] installs exactly the locked packages, from verified bytes, and fails when
//! dpkg's database says anything else. The only package that is not in the lock is [`dummy_package`]'s, which
//! Kiln makes itself.

mod build;
pub mod debian;
mod diagnosis;
mod dummy_package;
mod mirrors;
mod package;
mod resolve;
mod snapshots;
pub mod ubuntu;
mod workspace;

use std::collections::BTreeSet;
use std::path::Path;

use serde::Serialize;

pub use build::{Build, build};
pub use mirrors::{Mirrors, ahead, gone, mirrors, url};
pub use resolve::{Resolution, Resolve, resolve};
pub use snapshots::{SnapshotService, Snapshots};

use super::packages::{LockedPackage, LockedPackages, Selection};
use super::{
    Advised, AdvisedPackage, Base, BaseOption, BaseRequest, Content, Context, Firmware, Job, LockedBase,
    Mirrored, image_tree,
};
use crate::assembly::{Packages, Part};
use crate::definition::plan::{Arch, BasePlan, PackagesPlan};
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, Result};
use crate::fetch::Request;
use crate::layer;
use crate::layer::read::{ReadPolicy, tree_from_stream};
use crate::store::{Key, Store};

/// A distribution: everything that the engine does not know by itself.
#[derive(Debug)]
pub struct Distribution {
    /// Its name in definitions and package URLs.
    pub name: &'static str,
    /// Its name in messages; also the origin that its package lists carry.
    pub title: &'static str,
    /// The releases that Kiln is tried with.
    suites: &'static [&'static str],
    /// The ecosystem of a suite in the OSV schema.
    ecosystems: &'static [(&'static str, &'static str)],
    keys: Keys,
    archives: Archives,
    /// Packages that apt must never choose by itself.
    unwanted: &'static [Unwanted],
    packages: Packages,
    /// The options of the command line that only this distribution reads.
    options: &'static [BaseOption],
    mirror: MirrorOption,
    snapshots: SnapshotService,
}

/// The keys that sign a distribution's package lists.
#[derive(Debug)]
struct Keys {
    /// Where they may lie on the build host.
    files: &'static [&'static str],
    /// The package of the build host that brings them.
    package: &'static str,
    /// The primary keys that count in these files; all if there are none here.
    fingerprints: &'static [&'static str],
    /// Name of the option of the command line that names another file. All keys in that one count.
    option: Option<&'static str>,
}

/// A package that apt must never choose by itself.
#[derive(Debug)]
struct Unwanted {
    package: &'static str,
    /// Suites whose essential packages need it all the same.
    except: &'static [&'static str],
}

/// How the archives of a distribution are laid out.
#[derive(Debug)]
struct Archives {
    /// Name in the lock of the archive with the suite and its updates; the usual end of a mirror's address.
    main: &'static str,
    /// The usual end of the address of a mirror for other architectures than amd64, where the main archive
    /// lacks them.
    ports: Option<&'static str>,
    security: Security,
    /// Separated by blanks.
    components: &'static str,
    /// Suites without updates and security archives of their own.
    moving_suites: &'static [&'static str],
}

/// Where a distribution has its security updates.
#[derive(Debug)]
enum Security {
    /// In an archive of its own, with this name in the lock and all its files below `paths`.
    Own { name: &'static str, paths: &'static str },
    /// In the main archive, as one more suite. A mirror of that suite may be ahead of other mirrors.
    Within,
}

impl Security {
    /// The name of the archive of their own.
    const fn archive(&self) -> Option<&'static str> {
        match self {
            Self::Own { name, .. } => Some(name),
            Self::Within => None,
        }
    }
}

/// How a user names a mirror.
#[derive(Debug)]
struct MirrorOption {
    /// Name of the option of the command line.
    option: &'static str,
    /// The environment variable that counts when the option is absent.
    variable: &'static str,
}

impl MirrorOption {
    /// As written on the command line.
    fn flag(&self) -> String {
        format!("--{}", self.option)
    }
}

/// How the names of packages with kernel modules begin.
const KERNELS: [&str; 2] = ["linux-image-", "linux-modules-"];

/// How the names of packages with firmware begin.
const FIRMWARE: [&str; 4] = ["amd64-microcode", "firmware-", "intel-microcode", "linux-firmware"];

/// Raise it when [`build`] makes another tree of the same packages.
const FORMAT: u32 = 6;

/// Everything that decides the bytes of [`build`].
#[derive(Serialize)]
struct Inputs<'a> {
    suite: &'a str,
    arch: Arch,
    epoch: u64,
    scripts: Digest,
    packages: Vec<(&'a str, &'a str, &'a str, &'a Digest)>,
}

impl Base for Distribution {
    fn name(&self) -> &'static str {
        self.name
    }

    fn suites(&self) -> &'static [&'static str] {
        self.suites
    }

    fn gives(&self) -> &'static [Part] {
        Part::OF_A_TREE
    }

    fn packages(&self) -> Packages {
        self.packages
    }

    fn options(&self) -> &'static [BaseOption] {
        self.options
    }

    fn lock(&self, request: &BaseRequest<'_>, context: &Context<'_>) -> Result<LockedBase> {
        let plan = packages_of(request.plan)?;
        if context.fetcher.is_offline() {
            let error = Error::new(
                ErrorKind::Lock,
                "the lock's packages are missing or stale, and --offline forbids asking the archive",
            );
            return Err(error.help("run kiln lock where the distribution's archive can be reached"));
        }
        let scratch = context.store.scratch()?;
        let mirrors = match request.snapshot {
            Some(time) => self.snapshots(context)?.at(time),
            None => mirrors(self, request.arch, context.options.get(self.mirror.option))?,
        };
        let held = request.held.map(|held| held.packages()).unwrap_or_default();
        let before = request.held.and_then(|held| held.locked.selection.snapshot);
        let older = before.map(|time| self.snapshots(context).map(|service| service.at(time))).transpose()?;
        let order = Resolve {
            distribution: self,
            base: plan,
            arch: request.arch,
            extract: &request.extract,
            mirrors: &mirrors,
            held: &held,
            older: older.as_ref(),
            keyring: self.keys.option.and_then(|option| context.options.get(option)).map(Path::new),
            snapshot: request.snapshot,
            allow_expired_release: context.options.allow_expired_release,
            scratch: scratch.path(),
        };
        let Resolution { mut packages, newest_list } = resolve(&order, context.progress)?;
        let mut snapshot = request.snapshot.or(newest_list);
        if let Some(held) = request.held {
            held.locked.merge_into(&mut packages, snapshot);
            snapshot = before;
        }
        let selection = Selection { snapshot, ..Selection::of(request, plan) };
        Ok(LockedBase::Packages(LockedPackages { selection, packages }))
    }

    fn requests(&self, _: &BasePlan, locked: &LockedBase, context: &Context<'_>) -> Result<Vec<Request>> {
        let packages = locked.packages();
        // A mirror is needed only for what is missing: a full store builds on a machine that knows none.
        if packages.iter().all(|package| context.store.contains(&package.sha256)) {
            return Ok(Vec::new());
        }
        let mirrors = mirrors(self, arch_of(packages), context.options.get(self.mirror.option))?;
        let snapshots = self.snapshots(context)?;
        let request = |package: &LockedPackage| {
            let kept = match package.snapshot.or(locked.snapshot()) {
                Some(time) => snapshots.addresses(package, time)?,
                None => Vec::new(),
            };
            let urls = match url(self, &mirrors, package) {
                Ok(url) => [url].into_iter().chain(ahead(self, &mirrors, package)).collect(),
                // The service has the security archive of which no mirror is known.
                Err(error) if error.kind() == ErrorKind::Usage && !kept.is_empty() => Vec::new(),
                Err(error) => return Err(error),
            };
            Ok(Request {
                title: format!("{} {}", package.name, package.version),
                absent: Some(gone(self, package, &urls, &kept)),
                urls,
                kept,
                digest: package.sha256,
                size: Some(package.size),
            })
        };
        packages.iter().map(request).collect()
    }

    fn mirrored(&self, _: &BasePlan, _: Arch, locked: &LockedBase) -> Result<Mirrored> {
        let file =
            |package: &LockedPackage| (Path::new(&package.archive).join(&package.path), package.sha256);
        let files = locked.packages().iter().map(file).collect();
        Ok(Mirrored { files, option: Some((self.mirror.option, self.archives.main)) })
    }

    fn advised(&self, locked: &LockedBase) -> Option<Advised> {
        let LockedBase::Packages(locked) = locked else { return None };
        let suite = locked.selection.suite.as_str();
        let (_, ecosystem) = self.ecosystems.iter().find(|(known, _)| *known == suite)?;
        let package = |package: &LockedPackage| {
            let (source, version) = package.advised_source();
            AdvisedPackage { name: package.name.clone(), source, version }
        };
        let packages = locked.packages.iter().map(package).collect();
        Some(Advised { ecosystem: (*ecosystem).to_owned(), packages })
    }

    fn kernel_modules(&self, locked: &LockedBase, store: &Store) -> Result<Option<BTreeSet<String>>> {
        let kernels = locked.packages().iter().filter(|package| {
            package.install && KERNELS.iter().any(|prefix| package.name.starts_with(prefix))
        });
        let mut modules = BTreeSet::new();
        for kernel in kernels {
            if !store.contains(&kernel.sha256) {
                return Ok(None);
            }
            modules.extend(package::kernel_modules(&store.verified(&kernel.sha256)?)?);
        }
        Ok((!modules.is_empty()).then_some(modules))
    }

    fn firmware(&self, locked: &LockedBase) -> Option<Firmware> {
        let is_firmware = |package: &&LockedPackage| {
            package.install && FIRMWARE.iter().any(|prefix| package.name.starts_with(prefix))
        };
        let sizes: Vec<u64> =
            locked.packages().iter().filter(is_firmware).map(|package| package.size).collect();
        (!sizes.is_empty()).then(|| Firmware { packages: sizes.len(), size: sizes.iter().sum() })
    }

    fn assemble(&self, locked: &LockedBase, job: &Job<'_>) -> Result<Content> {
        let (plan, packages) = (packages_of(job.plan)?, locked.packages());
        let key = key(job, plan, packages)?;
        layer::pack::pack_with(job.store, &plan.suite, key, job.epoch, || {
            let blob = |package: &LockedPackage| job.store.verified(&package.sha256);
            let build = Build {
                distribution: self,
                base: plan,
                arch: job.arch,
                packages,
                blob: &blob,
                epoch: job.epoch,
                scratch: job.scratch,
                sent: &|| job.layers.begin(),
            };
            let spool = job.scratch.join("base.tar");
            self::build(&build, job.progress, |tar| {
                Ok(image_tree::finish(tree_from_stream(tar, &spool, ReadPolicy::Base)?))
            })
        })
        .map(Content::Layer)
    }
}

impl Distribution {
    fn snapshots(&self, context: &Context<'_>) -> Result<Snapshots<'_>> {
        Snapshots::of(self, context.options.get(self.snapshots.option))
    }
}

fn packages_of(plan: &BasePlan) -> Result<&PackagesPlan> {
    match plan {
        BasePlan::Packages(plan) => Ok(plan),
        BasePlan::Rootfs(_) | BasePlan::Vendor(_) | BasePlan::Windows(_) | BasePlan::WindowsRelease(_) => {
            Err(Error::new(ErrorKind::Internal, "this base has no packages"))
        }
    }
}

/// mmdebstrap has no part in it: dpkg writes the files, in namespaces that mmdebstrap makes, and the layer is
/// packed anew from its tar. So the manifest, which shows this key, does not depend on the build host, and a
/// full store builds without the program.
fn key(job: &Job<'_>, plan: &PackagesPlan, packages: &[LockedPackage]) -> Result<Key> {
    let installed = packages.iter().filter(|package| package.install);
    let inputs = Inputs {
        suite: &plan.suite,
        arch: job.arch,
        epoch: job.epoch,
        scripts: Digest::of([build::SETUP, build::INSTALL].concat().as_bytes()),
        packages: installed
            .map(|package| {
                let LockedPackage { name, version, architecture, sha256, .. } = package;
                (name.as_str(), version.as_str(), architecture.as_str(), sha256)
            })
            .collect(),
    };
    Key::new("base", FORMAT, &inputs, &[])
}

/// The architecture of the image that packages are for.
fn arch_of(packages: &[LockedPackage]) -> Arch {
    let arm64 = packages.iter().any(|package| package.architecture == Arch::Arm64.name());
    if arm64 { Arch::Arm64 } else { Arch::Amd64 }
}

/// A path as text, for the configuration files of apt, which have no way to write anything else.
fn text(path: &Path) -> Result<&str> {
    path.to_str().filter(|path| !path.contains(['"', '\n'])).ok_or_else(|| {
        Error::new(ErrorKind::Usage, format!("apt cannot work in the folder {}", path.display()))
            .help("choose a cache folder whose path has no quotes or line breaks, with --cache-dir")
    })
}
