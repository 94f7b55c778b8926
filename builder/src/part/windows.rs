//! An image of Windows with the layers in it: a WIM, and a disk that boots from it by UEFI.
//!
//! ```text
//! WIM ─► one image of it ─► files, drivers, edited hives ─► WIM ─► NTFS volume ─┐
//!                                  boot manager, its store ─► ESP ─────┴─► disk
//! ```

mod disk;
mod drivers;
mod edits;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::assembly::{Image, WindowsRelease};
use crate::base::windows::{Spellings, control_set, files_of, hive_of, logs_of, missing_services, path_of};
use crate::definition::plan::ImagePlan;
use crate::definition::windows::names;
use crate::definition::windows::registry::Hive as Name;
use crate::determinism;
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::format::hive::Hive;
use crate::format::ntfs::Rights;
use crate::format::wim::{self, Wim, inside, quoted};
use crate::part::work::Work;
use crate::tree::{Body, Node};

pub(super) use disk::make as make_disk;
use drivers::Driver;

/// An image with the layers in it.
#[derive(Debug)]
pub struct WindowsImage {
    /// The WIM; it has no other image.
    pub wim: PathBuf,
    /// Everything that is new in it, `\` between the parts of a path, and who may do what with it.
    pub added: Vec<(String, Rights)>,
}

/// Makes the WIM in the scratch folder.
///
/// # Errors
/// [`ErrorKind::Archive`] if the image is broken; [`ErrorKind::Definition`] if a layer cannot be in it.
pub(super) fn make(image: &Image<'_>, work: &Work<'_>, release: &WindowsRelease) -> Result<WindowsImage> {
    work.record_tool("wimlib-imagex", &wim::version()?);
    // Archives may hold what no layer can write by itself.
    names::check_all(image.tree().entries.keys().map(String::as_str))
        .map_err(|(message, help)| Error::new(ErrorKind::Definition, message).help(help))?;
    let path = work.scratch.join("windows.wim");
    let base = Wim { path: &release.wim, title: &release.title };
    let hives = open_hives(image, release, work.scratch)?;
    check_features(image.plan, release, &hives)?;
    let drivers = drivers::read(image, release)?;
    {
        let _step = work.progress.step("copying the image of Windows");
        base.export(release.index, &path, image.epoch)?;
    }
    let _step = work.progress.step("adding the layers to Windows");
    let staging = work.scratch.join("windows");
    let mut added = stage(image, &staging)?;
    added.extend(drivers::stage(&drivers, &staging)?);
    let paths = base.paths(release.index)?;
    check_spellings(&base, &paths, &added)?;
    let existing: BTreeSet<String> = paths.iter().map(|path| folded(path)).collect();
    check_places(image, &base, &existing, &added)?;
    // A folder of the base keeps its rights.
    added.retain(|(path, rights)| *rights != Rights::Folder || !existing.contains(&folded(path)));
    added.extend(edit_hives(image, release, &drivers, hives, &staging)?);
    set_times(&staging, image.epoch)?;
    let baked = Wim { path: &path, title: &release.title };
    baked.update(&commands(&staging)?, image.epoch)?;
    baked.set_identifier(determinism::uuid(&image.identity, "wim"))?;
    fs::remove_dir_all(&staging).at("removing", &staging)?;
    let names: BTreeMap<String, String> =
        baked.paths(1)?.into_iter().map(|path| (folded(&path), path)).collect();
    for (path, _) in &mut added {
        let missing = || Error::new(ErrorKind::Internal, format!("{path} is not in the image"));
        *path = names.get(&folded(path)).ok_or_else(missing)?.trim_start_matches('\\').to_owned();
    }
    let _step = work.progress.step("checking the image of Windows");
    baked.verify()?;
    Ok(WindowsImage { wim: path, added })
}

/// A path without its root, in the form in which paths are compared.
fn folded(path: &str) -> String {
    names::folded(path.trim_start_matches('\\'))
}

/// One command puts in everything; the others remove what belonged to the hives as they were: their logs
/// hold changes to bytes that are no longer there.
fn commands(staging: &Path) -> Result<String> {
    let staging = staging.to_str().map(quoted).transpose()?.ok_or_else(|| {
        Error::new(ErrorKind::Io, format!("{} is not UTF-8", staging.display()))
            .help("choose another folder with --output-dir")
    })?;
    let mut commands = format!("add {staging} '/'\n");
    for hive in edits::HIVES {
        for log in logs_of(hive.name()) {
            commands += &format!("delete --force '{}'\n", inside(&log));
        }
    }
    Ok(commands)
}

/// Writes the tree into the folder `staging`.
fn stage(image: &Image<'_>, staging: &Path) -> Result<Vec<(String, Rights)>> {
    fs::create_dir(staging).at("creating", staging)?;
    let mut added = Vec::new();
    for (path, entry) in &image.tree().entries {
        let to = staging.join(path);
        let rights = match &entry.node {
            Node::Directory => {
                fs::create_dir_all(&to).at("creating", &to)?;
                Rights::Folder
            }
            Node::File(body) => {
                write(body, &to).at("writing", &to)?;
                Rights::File
            }
            Node::Symlink(_) => {
                return Err(Error::new(ErrorKind::Definition, format!("C:\\{} is a link", shown(path)))
                    .help("write the file itself: links are made by the agent, at first boot"));
            }
        };
        added.push((shown(path), rights));
    }
    Ok(added)
}

/// Writes a file that is not there yet.
fn write(body: &Body, to: &Path) -> io::Result<()> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    io::copy(&mut body.open()?, &mut File::create_new(to)?).map(drop)
}

/// A path as Windows shows it.
fn shown(path: &str) -> String {
    path.replace('/', "\\")
}

/// Every time that wimlib takes over is the image's.
fn set_times(folder: &Path, epoch: u64) -> Result<()> {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(epoch);
    let times = fs::FileTimes::new().set_accessed(time).set_modified(time);
    for entry in fs::read_dir(folder).at("reading", folder)? {
        let path = entry.at("reading", folder)?.path();
        if path.is_dir() {
            set_times(&path, epoch)?;
        } else {
            File::open(&path)
                .and_then(|file| file.set_times(times))
                .at("setting the time of", &path)?;
        }
    }
    // Last: reading a folder may change the time of its last access.
    File::open(folder)
        .and_then(|file| file.set_times(times))
        .at("setting the time of", folder)
}

/// Nothing goes to a place of which the base has two.
fn check_spellings(base: &Wim<'_>, paths: &[String], added: &[(String, Rights)]) -> Result<()> {
    let spellings = Spellings::of(paths.iter().map(String::as_str));
    let hives = edits::HIVES.iter().map(|hive| path_of(hive.name()));
    let mut all = added.iter().map(|(path, _)| path.clone()).chain(hives);
    all.try_for_each(|path| spellings.check(base.title, &path))
}

/// A file of the base is replaced only where a layer says so, and what layers say is true.
fn check_places(
    image: &Image<'_>,
    base: &Wim<'_>,
    existing: &BTreeSet<String>,
    added: &[(String, Rights)],
) -> Result<()> {
    let replaced = |path: &str| {
        let mut all = image.plan.layers.iter().flat_map(|layer| &layer.replaces);
        all.any(|replaced| shown(replaced).eq_ignore_ascii_case(path))
    };
    for path in image.plan.layers.iter().flat_map(|layer| &layer.replaces).map(|path| shown(path)) {
        if !added.iter().any(|(added, _)| *added == path) {
            let message = format!("replaces = ['C:\\{path}'] replaces nothing: no layer writes it");
            return Err(Error::new(ErrorKind::Definition, message).help("correct the path, or remove it"));
        }
    }
    let registry: BTreeSet<String> = edits::HIVES
        .iter()
        .flat_map(|hive| files_of(hive.name()))
        .map(|path| folded(&path))
        .collect();
    if let Some((path, _)) = added.iter().find(|(path, _)| registry.contains(&folded(path))) {
        let message = format!("C:\\{path} is the registry, into which the values of all layers go");
        return Err(Error::new(ErrorKind::Definition, message)
            .help("leave the file out; [[registry]] of a layer sets values"));
    }
    for (path, rights) in added {
        if *rights == Rights::Folder || !existing.contains(&folded(path)) || replaced(path) {
            continue;
        }
        let message = format!("C:\\{path} is a file of {} already", base.title);
        return Err(Error::new(ErrorKind::Definition, message)
            .help(format!("choose another path, or add replaces = ['C:\\{path}'] to the layer")));
    }
    Ok(())
}

/// The hives that are edited, as the base has them.
fn open_hives(image: &Image<'_>, release: &WindowsRelease, scratch: &Path) -> Result<Vec<(Name, Hive)>> {
    let base = Wim { path: &release.wim, title: &release.title };
    let open = |name: Name| Ok((name, hive_of(&base, release.index, name.name(), scratch, image.epoch)?));
    edits::HIVES.into_iter().map(open).collect()
}

fn of_hive(error: Error, release: &WindowsRelease, hive: Name) -> Error {
    error.context(format!("{}: {}", release.title, hive.name()))
}

/// The base must have what layers need of it, unless one has Windows enable it.
fn check_features(plan: &ImagePlan, release: &WindowsRelease, hives: &[(Name, Hive)]) -> Result<()> {
    let Some((_, system)) = hives.iter().find(|(name, _)| *name == Name::System) else { return Ok(()) };
    let context = |error| of_hive(error, release, Name::System);
    let control_set = control_set(system).map_err(context)?;
    for (layer, feature) in plan.features_of_base() {
        let missing = missing_services(feature, system, &control_set).map_err(context)?;
        if !missing.is_empty() {
            return Err(lacks_feature(release, layer, feature, &missing));
        }
    }
    Ok(())
}

fn lacks_feature(release: &WindowsRelease, layer: &str, feature: &str, services: &[&str]) -> Error {
    let services = services.join(" and ");
    let message = format!(
        "{} lacks the feature {feature}, which the layer \"{layer}\" needs: there is no service {services}",
        release.title
    );
    Error::new(ErrorKind::Definition, message).help(format!(
        "enable it before the base is generalized (Enable-WindowsOptionalFeature -Online -All -FeatureName {feature}), \
         or take a layer that has Windows enable it at its first start, such as windows-features-agent"
    ))
}

/// Edits the hives into the folder `staging`; their paths.
fn edit_hives(
    image: &Image<'_>,
    release: &WindowsRelease,
    drivers: &[Driver],
    hives: Vec<(Name, Hive)>,
    staging: &Path,
) -> Result<Vec<(String, Rights)>> {
    let mut edited = Vec::new();
    for (name, mut hive) in hives {
        edits::apply(image.plan, drivers, name, &mut hive).map_err(|error| of_hive(error, release, name))?;
        let path = path_of(name.name());
        let to = staging.join(path.replace('\\', "/"));
        write(&Body::inline(hive.into_bytes()), &to).at("writing", &to)?;
        edited.push((path, Rights::Private));
    }
    Ok(edited)
}
