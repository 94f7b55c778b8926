//! The disk of an installation, among those of the machine.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::content::{self, Content};
use super::rule::{self, Candidate, Rule};
use super::{Installer, Request};
use crate::error::{ErrorKind, Failure, Result};
use crate::host::disks::{self, Disk};
use crate::host::root::Root;
use crate::initrd::firmware;
use crate::initrd::place::Place;
use crate::paths;

/// The argument and the option that allow to overwrite data.
const ALLOW: &str = "firstboot.install-overwrite, or --overwrite, allows to overwrite it";

/// The disks of the machine with what is on each. `holder` is the device that has the image.
pub fn candidates(root: &Root, holder: Option<&str>) -> Vec<Candidate> {
    let booted = if root.is_machine() { firmware::booted_from() } else { None };
    let candidate = |mut disk: Disk| {
        let name = disk
            .path
            .strip_prefix(paths::DEV)
            .unwrap_or(&disk.path)
            .to_string_lossy()
            .replace('/', "!");
        let folder = root.path(Path::new(paths::BLOCK).join(&name));
        let has_image = holder.is_some_and(|holder| holder == name || folder.join(holder).exists());
        let is_booted = booted.as_ref().is_some_and(|location| {
            let place = Place::of(&folder);
            place.is_at(location) && place.is_unit(location)
        });
        if has_image {
            disk.unusable = Some("it has the image".to_owned());
        } else if is_booted {
            disk.unusable.get_or_insert_with(|| "the machine booted from it".to_owned());
        }
        let content = look(&root.path(&disk.path), &disk);
        Candidate { disk, content, is_file: false }
    };
    disks::list(root).into_iter().map(candidate).collect()
}

fn look(path: &Path, disk: &Disk) -> Content {
    match File::open(path) {
        Ok(file) => content::look(&|offset, bytes| file.read_exact_at(bytes, offset), disk.size, disk.sector),
        Err(error) => Content::Unreadable(crate::error::plain(&error)),
    }
}

impl Installer<'_> {
    /// The one disk that the rule of a request leaves, or the file that it names in the place of one.
    pub(super) fn choose(&self, request: &Request, holder: Option<&str>) -> Result<Candidate> {
        let rule = request.rule.as_ref();
        let file = rule.and_then(|rule| rule.path()).filter(|path| self.root.path(path).is_file());
        let chosen = match file {
            Some(path) if !rule.is_some_and(Rule::is_single) => {
                let message = format!("{} is a file, for which no other condition can hold", path.display());
                return Err(Failure::new(ErrorKind::Preflight, message).help("write path= alone"));
            }
            Some(path) => of_file(&self.root.path(path), path)?,
            None => {
                let candidates = candidates(self.root, holder);
                rule::choose(&candidates, rule, request.may_overwrite)
                    .cloned()
                    .map_err(|why| none_left(&candidates, &why))?
            }
        };
        match &chosen.content {
            Content::Data(_) if !request.may_overwrite => {
                let message = format!("the disk holds data: {}", chosen.line());
                Err(Failure::new(ErrorKind::Preflight, message).help(ALLOW))
            }
            _ => Ok(chosen),
        }
    }
}

/// A file that stands for a disk, to try an installation without one.
fn of_file(path: &Path, named: &Path) -> Result<Candidate> {
    let size = std::fs::metadata(path).map(|about| about.len()).unwrap_or_default();
    let disk = Disk { path: named.to_owned(), size, sector: 512, bus: "other", ..Disk::default() };
    let content = look(path, &disk);
    if let Content::Unreadable(why) = &content {
        return Err(Failure::new(ErrorKind::Host, format!("reading {}: {why}", named.display())));
    }
    Ok(Candidate { disk, content, is_file: true })
}

/// Why no disk, or more than one, is left: each disk as rules see it.
fn none_left(candidates: &[Candidate], out: &[Option<String>]) -> Failure {
    let left = out.iter().filter(|why| why.is_none()).count();
    let mut message = match (candidates.len(), left) {
        (0, _) => "this machine has no disk: the kernel has no driver for it in this image".to_owned(),
        (_, 0) => "no disk is left to install on".to_owned(),
        (_, left) => format!("{left} disks are left, and exactly one must be"),
    };
    for (candidate, why) in candidates.iter().zip(out) {
        let why = why.as_deref().map_or_else(|| "left".to_owned(), |why| format!("left out: {why}"));
        message += &format!("\n{}: {why}", candidate.line());
    }
    let mut help =
        "name one with firstboot.install-disk=RULE or --disk RULE, such as serial=… or smallest".to_owned();
    if out.iter().flatten().any(|why| why == rule::HOLDS_DATA) {
        help = format!("{help}; where one holds data, {ALLOW}");
    }
    Failure::new(ErrorKind::Preflight, message).help(help)
}

#[cfg(test)]
#[path = "choosing_tests.rs"]
mod tests;
