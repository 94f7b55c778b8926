//! The programs of this Kiln release that images contain.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use crate::definition::plan::{Arch, ImagePlan, Origin};
use crate::elf::{self, Machine};
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::format::pe;

/// The programs that the layers of `plan` ask for, by name. `explicit` is the agent that the user named.
pub(super) fn all(plan: &ImagePlan, explicit: Option<&Path>) -> Result<BTreeMap<String, PathBuf>> {
    let artifacts = plan.layers.iter().flat_map(|layer| &layer.artifacts);
    let names = artifacts.filter_map(|artifact| match &artifact.origin {
        Origin::Program { name } => Some(name),
        Origin::Url { .. } | Origin::Package { .. } => None,
    });
    names.map(|name| Ok((name.clone(), find(name, plan.arch, explicit)?))).collect()
}

/// A program for machines of `arch`: the one the user named, else the one beside the running program, which
/// is called `NAME` if it is for this machine's architecture, else `NAME-ARCH`.
pub fn find(name: &str, arch: Arch, explicit: Option<&Path>) -> Result<PathBuf> {
    let kiln = std::env::current_exe().ok();
    let beside = || Some(kiln.as_deref()?.parent()?.join(file_name(name, arch)));
    let path = explicit.map(Path::to_owned).or_else(beside);
    let refused = |why: String| {
        let make = match arch {
            _ if is_for_windows(name) => "tools/windows-agent".to_owned(),
            Arch::OF_THIS_MACHINE => "make programs".to_owned(),
            other => format!("make programs ARCH={}", other.name()),
        };
        let help = format!("name one for {} with --firstboot FILE; {make} builds it", arch.name());
        Err(Error::new(ErrorKind::Usage, format!("the program \"{name}\" of this Kiln release {why}"))
            .help(help))
    };
    let Some(path) = path.as_ref().filter(|path| path.is_file()) else {
        let place = path.map(|path| format!(" at {}", path.display())).unwrap_or_default();
        return refused(format!("is not there{place}"));
    };
    let file = File::open(path).at("opening", path)?;
    let machine = if is_for_windows(name) { pe_machine(file) } else { elf::machine(file) };
    match machine.at("reading", path)? {
        Some(machine) if machine == Machine::Known(arch) => Ok(path.clone()),
        Some(machine) => refused(format!("is for {machine}, not for {}: {}", arch.name(), path.display())),
        None => refused(format!("is no program: {}", path.display())),
    }
}

/// Programs for Windows are named as they are there.
fn is_for_windows(name: &str) -> bool {
    name.ends_with(".exe")
}

fn pe_machine(file: File) -> io::Result<Option<Machine>> {
    Ok(pe::machine(file)?.map(|number| match number {
        pe::AMD64 => Machine::Known(Arch::Amd64),
        pe::ARM64 => Machine::Known(Arch::Arm64),
        other => Machine::Other(other),
    }))
}

fn file_name(name: &str, arch: Arch) -> String {
    if arch == Arch::OF_THIS_MACHINE || is_for_windows(name) {
        name.to_owned()
    } else {
        format!("{name}-{}", arch.name())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const OTHER: Arch = match Arch::OF_THIS_MACHINE {
        Arch::Amd64 => Arch::Arm64,
        Arch::Arm64 => Arch::Amd64,
    };

    #[test]
    fn a_program_that_is_missing_or_for_another_machine_is_refused_with_the_way_to_get_the_right_one() {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("script");
        fs::write(&script, "#!/bin/sh\n").unwrap();
        let this = std::env::current_exe().unwrap();
        let other = OTHER.name();
        assert_eq!(find("firstboot", Arch::OF_THIS_MACHINE, Some(&this)).unwrap(), this);

        let refused = |arch, path| find("firstboot", arch, path).unwrap_err();
        let wrong = refused(OTHER, Some(&this));
        let why = format!("is for {}, not for {other}: {}", Arch::OF_THIS_MACHINE.name(), this.display());
        assert!(wrong.message().contains(&why), "{wrong}");
        assert!(wrong.hint().unwrap().contains(&format!("make programs ARCH={other} builds it")), "{wrong}");
        assert!(refused(OTHER, Some(&script)).message().contains("is no program"));
        assert!(refused(OTHER, Some(folder.path())).message().contains("is not there at"));
        let beside = refused(OTHER, None);
        assert!(beside.message().contains(&format!("/firstboot-{other}")), "{beside}");
        let own = refused(Arch::OF_THIS_MACHINE, None);
        assert!(own.message().ends_with("/firstboot"), "{own}");
        assert!(own.hint().unwrap().contains("; make programs builds it"), "{own}");
    }

    #[test]
    fn a_program_for_windows_is_a_pe_image_for_its_machine() {
        let folder = tempfile::tempdir().unwrap();
        let image = |machine: u16| {
            let path = folder.path().join(format!("{machine:x}.exe"));
            let start = [0x80, 0, 0, 0];
            let bytes = [b"MZ".as_slice(), &[0; 58], &start, &[0; 64], b"PE\0\0", &machine.to_le_bytes()];
            fs::write(&path, bytes.concat()).unwrap();
            path
        };
        let find = |path: &Path| find("firstboot.exe", Arch::Amd64, Some(path));
        let right = image(0x8664);
        assert_eq!(find(&right).unwrap(), right);
        let this = std::env::current_exe().unwrap();
        for (path, why) in [(&image(0xaa64), "is for arm64, not for amd64"), (&this, "is no program")] {
            let error = find(path).unwrap_err();
            assert!(error.message().contains(why), "{error}");
            assert!(error.hint().unwrap().contains("tools/windows-agent builds it"), "{error}");
        }
    }
}
