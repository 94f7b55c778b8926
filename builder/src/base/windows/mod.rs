//! An image of Windows that the user has: a WIM, or a disk whose volume becomes one.
//!
//! ```text
//! lock:     location ─► digest ─► WIM (one image in it) ─► hives ─► build, patch level, state
//! assemble: blob ─► WIM
//! ```

mod disk;
mod features;
mod files;
mod hives;
mod release;
mod spelling;

use std::path::{Path, PathBuf};

use serde::Serialize;

pub use disk::look_at;
pub use features::missing_services;
pub use files::{Files, may_be_windows};
pub use hives::{files_of, logs_of, of_wim as hive_of, path_of};
pub use release::{Release, control_set};
pub use spelling::Spellings;

use super::{Base, BaseRequest, Content, Context, Job, LockedBase, LockedWindows, Mirrored, given_file};
use crate::assembly::{Part, WindowsRelease};
use crate::definition::plan::{Arch, BasePlan, WindowsBasePlan};
use crate::definition::windows::WINDOWS;
use crate::determinism;
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, Result};
use crate::fetch::Request;
use crate::format::wim::{self, Image, Wim};
use crate::image_source::{self, first_bytes};
use crate::store::{Content as StoredContent, Key, Store};

/// The name of this base in the registry.
pub const NAME: &str = WINDOWS;

/// Raise it when the same disk comes to give another WIM.
const FORMAT: u32 = 1;

/// How many bytes of a file tell what it is.
const HEAD: u64 = 4096;

/// The name of the only image in a WIM that was a disk.
const CAPTURED: &str = "Windows";

/// An image of Windows.
#[derive(Debug)]
pub struct Windows;

impl Base for Windows {
    fn name(&self) -> &'static str {
        NAME
    }

    fn is_distribution(&self) -> bool {
        false
    }

    fn gives(&self) -> &'static [Part] {
        Part::OF_WINDOWS
    }

    fn lock(&self, request: &BaseRequest<'_>, context: &Context<'_>) -> Result<LockedBase> {
        let plan = plan_of(request.plan)?;
        let file = given_file::File {
            location: &plan.windows,
            checksum: plan.checksum.as_ref(),
            signature: plan.signature.as_ref(),
        };
        let (sha256, size) = file.pin(context)?;
        context.fetcher.fetch_all(&files(plan, &plan.windows.written, (sha256, size)))?;
        let scratch = context.store.scratch()?;
        let _step = context.progress.step(&format!("looking into {}", plan.windows.written));
        let path = wim(&sha256, &plan.windows.written, context.store, scratch.path())?;
        let wim = Wim { path: &path, title: &plan.windows.written };
        let image = choose(&wim.images(scratch.path())?, plan.edition.as_deref(), By::Definition, wim.title)?;
        let release = release::read(&wim, image.index, scratch.path())?;
        release.check(plan, request.arch).map_err(|error| error.context(wim.title))?;
        Ok(LockedBase::Windows(LockedWindows {
            windows: plan.windows.written.clone(),
            size,
            sha256,
            keyring: plan.signature.as_ref().map(|signature| signature.keyring.written.clone()),
            image: image.index,
            name: image.name,
            edition: release.edition,
            product: release.product,
            build: release.build,
            revision: release.revision,
        }))
    }

    fn requests(&self, plan: &BasePlan, locked: &LockedBase, _: &Context<'_>) -> Result<Vec<Request>> {
        let (plan, locked) = (plan_of(plan)?, locked_of(locked)?);
        given_file::check_length(&plan.windows, locked.size)?;
        Ok(files(plan, &locked.windows, (locked.sha256, locked.size)))
    }

    fn mirrored(&self, plan: &BasePlan, _: Arch, locked: &LockedBase) -> Result<Mirrored> {
        let (plan, locked) = (plan_of(plan)?, locked_of(locked)?);
        let files = files(plan, &locked.windows, (locked.sha256, locked.size));
        Mirrored::at_addresses(
            files.iter().flat_map(|file| file.urls.iter().map(|url| (url.clone(), &file.digest))),
        )
    }

    fn assemble(&self, locked: &LockedBase, job: &Job<'_>) -> Result<Content> {
        job.layers.begin();
        let locked = locked_of(locked)?;
        let _step = job.progress.step(&format!("reading {}", locked.windows));
        let wim = wim(&locked.sha256, &locked.windows, job.store, job.scratch)?;
        let (title, product) = (locked.windows.clone(), locked.product.clone());
        let (index, build) = (locked.image, locked.build);
        Ok(Content::Windows(WindowsRelease { title, product, wim, index, build }))
    }
}

/// What decides the bytes of a WIM that was a disk.
#[derive(Serialize)]
struct Inputs<'a> {
    disk: &'a Digest,
}

/// The WIM of a file in the store: the file itself, or what its volume becomes, which the store keeps.
fn wim(file: &Digest, title: &str, store: &Store, scratch: &Path) -> Result<PathBuf> {
    let path = store.verified(file)?;
    if wim::is_wim(&first_bytes(&path, HEAD)?) {
        return Ok(path);
    }
    let version = wim::version()?;
    let key = Key::new("windows", FORMAT, &Inputs { disk: file }, &[("wimlib-imagex", &version)])?;
    let built = store.built(&key, "install.wim", |to| {
        let volume = disk::volume(&path, title, scratch)?.ok_or_else(|| disk::lacks_ntfs(title))?;
        let captured = Wim { path: to, title };
        captured.capture(&volume, CAPTURED, determinism::DEFAULT_EPOCH)?;
        captured.set_identifier(determinism::uuid(file, "wim"))?;
        StoredContent::of_file(to)
    })?;
    Ok(built.path)
}

/// Who chooses an image, and so is told how.
#[derive(Clone, Copy)]
enum By {
    Definition,
    CommandLine,
}

/// The image that is meant by an edition, a name or a number.
fn choose(images: &[Image], wanted: Option<&str>, by: By, title: &str) -> Result<Image> {
    let (kind, how) = match by {
        By::Definition => (ErrorKind::Definition, "set edition in [base]"),
        By::CommandLine => (ErrorKind::Usage, "choose one with --edition"),
    };
    let refuse = |message: String| {
        let list = images.iter().map(|image| {
            let edition = image.edition.as_deref().map(|edition| format!(" ({edition})")).unwrap_or_default();
            format!("{} {}{edition}", image.index, image.name)
        });
        let help = format!("{how}: {}", list.collect::<Vec<_>>().join(", "));
        Err(Error::new(kind, message).help(help))
    };
    let Some(wanted) = wanted else {
        return match images {
            [one] => Ok(one.clone()),
            _ => refuse(format!("{title} holds {} images", images.len())),
        };
    };
    let is_meant = |image: &&Image| {
        let edition = image.edition.as_ref().is_some_and(|edition| edition.eq_ignore_ascii_case(wanted));
        edition || image.name.eq_ignore_ascii_case(wanted) || image.index.to_string() == wanted
    };
    match images.iter().filter(is_meant).collect::<Vec<_>>().as_slice() {
        [one] => Ok((*one).clone()),
        [] => refuse(format!("{title} holds no image \"{wanted}\"")),
        _ => refuse(format!("{title} holds more than one image \"{wanted}\"")),
    }
}

fn files(plan: &WindowsBasePlan, title: &str, pinned: (Digest, Option<u64>)) -> Vec<Request> {
    image_source::requests(&plan.windows, title, pinned, &[])
}

fn plan_of(plan: &BasePlan) -> Result<&WindowsBasePlan> {
    match plan {
        BasePlan::Windows(plan) => Ok(plan),
        _ => Err(Error::new(ErrorKind::Internal, "this base is no image of Windows")),
    }
}

fn locked_of(locked: &LockedBase) -> Result<&LockedWindows> {
    locked
        .windows()
        .ok_or_else(|| Error::new(ErrorKind::Internal, "the lock has no image of Windows"))
}

#[cfg(test)]
mod tests;
