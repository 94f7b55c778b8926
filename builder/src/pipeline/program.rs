//! The programs of this Kiln release that images contain.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use crate::definition::plan::{Arch, ImagePlan, Origin};
use crate::elf::{self, Machine};
use crate::error::{Error, ErrorKind, IoContext, Result};

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
    match elf::machine(File::open(path).at("opening", path)?).at("reading", path)? {
        Some(machine) if machine == Machine::Known(arch) => Ok(path.clone()),
        Some(machine) => refused(format!("is for {machine}, not for {}: {}", arch.name(), path.display())),
        None => refused(format!("is no program: {}", path.display())),
    }
}

fn file_name(name: &str, arch: Arch) -> String {
    if arch == Arch::OF_THIS_MACHINE { name.to_owned() } else { format!("{name}-{}", arch.name()) }
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
}
