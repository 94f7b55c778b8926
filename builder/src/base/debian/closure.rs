//! Which packages an image needs, exactly: asked of apt in a root of its own, from the archive's signed index.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::packages::{Stanza, simulated, stanzas};
use super::repository::{STAND_IN, stand_in_index};
use super::{MAIN, Mirrors, SECURITY};
use crate::definition::plan::{Arch, BasePlan};
use crate::error::{Class, Error, IoContext, Result};
use crate::lock::LockedPackage;
use crate::process::{Run, tool};

/// The keys that sign the archive, from the package debian-archive-keyring.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The closure of `base.packages` and of everything essential, and the packages `extract` without their dependencies; by name.
/// apt verifies the index's signature. `scratch` is an empty folder; `allow_expired` accepts an index past its Valid-Until.
pub fn resolve(
    base: &BasePlan,
    arch: Arch,
    extract: &[String],
    mirrors: &Mirrors,
    scratch: &Path,
    allow_expired: bool,
) -> Result<Vec<LockedPackage>> {
    if !Path::new(KEYRING).exists() {
        return Err(Error::new(Class::Tool, format!("there is no {KEYRING} to verify the archive with"))
            .help("install it: apt-get install debian-archive-keyring"));
    }
    let apt = Apt::prepare(scratch, base, arch, mirrors, allow_expired)?;
    apt.update(allow_expired)?;
    let indices = apt.indices(mirrors)?;
    let known = index_by_name(&indices);
    let essential = known.values().filter(|versions| versions[0].1.essential).map(|versions| versions[0].1.name);
    let mut names: Vec<&str> = essential.chain(base.packages.iter().map(String::as_str)).collect();
    names.push(STAND_IN);
    if let Some(missing) = base.packages.iter().chain(extract).find(|name| !known.contains_key(name.as_str())) {
        return Err(Error::new(Class::Definition, format!("{} has no package \"{missing}\"", base.suite))
            .help("check its name in base.packages and in the layers' packages"));
    }
    let output = apt.command("apt-get").args(["--simulate", "--no-install-recommends", "install"]).args(&names).run("apt")?;
    let output = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut locked = simulated(&output)
        .into_iter()
        .filter(|(name, _)| *name != STAND_IN)
        .map(|(name, version)| lock(&known, name, version, true))
        .collect::<Result<Vec<_>>>()?;
    for name in extract {
        let newest = apt.candidate(name)?;
        locked.push(lock(&known, name, &newest, false)?);
    }
    locked.sort();
    Ok(locked)
}

/// Stanzas by name, with their archive; several versions of one name.
type Known<'a> = BTreeMap<&'a str, Vec<(&'static str, Stanza<'a>)>>;

fn index_by_name<'a>(indices: &'a [(&'static str, String)]) -> Known<'a> {
    let mut known = Known::new();
    for (archive, index) in indices {
        for stanza in stanzas(index) {
            known.entry(stanza.name).or_default().push((*archive, stanza));
        }
    }
    known
}

fn lock(known: &Known<'_>, name: &str, version: &str, install: bool) -> Result<LockedPackage> {
    let found = known.get(name).and_then(|versions| versions.iter().find(|(_, stanza)| stanza.version == version));
    let (archive, stanza) = found.ok_or_else(|| Error::new(Class::Tool, format!("apt chose {name} {version}, which no index has")))?;
    stanza.lock(archive, install)
}

/// apt with a configuration, lists and a dpkg database of its own: nothing of the machine's.
struct Apt {
    config: PathBuf,
}

impl Apt {
    fn prepare(scratch: &Path, base: &BasePlan, arch: Arch, mirrors: &Mirrors, allow_expired: bool) -> Result<Self> {
        for folder in ["lists/partial", "cache/archives/partial", "repository"] {
            let path = scratch.join(folder);
            fs::create_dir_all(&path).at("creating", &path)?;
        }
        let arch = arch.debian();
        let write = |name: &str, text: String| fs::write(scratch.join(name), text).at("writing", scratch.join(name));
        write("status", String::new())?;
        write("repository/Packages", stand_in_index())?;
        let folder = scratch.display();
        let suite = &base.suite;
        let signed = format!("deb [arch={arch} signed-by={KEYRING}]");
        write(
            "sources.list",
            format!(
                "{signed} {main} {suite} main\n{signed} {main} {suite}-updates main\n{signed} {security} {suite}-security main\n\
                 deb [trusted=yes] file:{folder}/repository ./\n",
                main = mirrors.main,
                security = mirrors.security
            ),
        )?;
        let config = scratch.join("apt.conf");
        write(
            "apt.conf",
            format!(
                "Dir::Etc::Main \"/dev/null\";\nDir::Etc::Parts \"/dev/null\";\nDir::Etc::Preferences \"/dev/null\";\nDir::Etc::PreferencesParts \"/dev/null\";\n\
                 Dir::Etc::SourceList \"{folder}/sources.list\";\nDir::Etc::SourceParts \"/dev/null\";\n\
                 Dir::State::Lists \"{folder}/lists\";\nDir::State::Status \"{folder}/status\";\nDir::Cache \"{folder}/cache\";\n\
                 APT::Architecture \"{arch}\";\nAPT::Architectures {{ \"{arch}\"; }};\nAPT::Sandbox::User \"root\";\n\
                 Acquire::Languages \"none\";\nAcquire::Check-Valid-Until \"{}\";\nAcquire::Retries \"3\";\n",
                !allow_expired
            ),
        )?;
        Ok(Self { config })
    }

    fn command(&self, name: &str) -> Command {
        let mut command = tool(name);
        command.env("APT_CONFIG", &self.config);
        command
    }

    fn update(&self, allow_expired: bool) -> Result<()> {
        // Without the option apt-get update succeeds with old or no lists when a mirror fails.
        let updated = self.command("apt-get").args(["-q", "-o", "APT::Update::Error-Mode=any", "update"]).run("apt");
        updated.map(drop).map_err(|error| {
            let expired = !allow_expired && error.message().contains("expired");
            let text = error.message().to_owned();
            let error = Error::new(Class::Fetch, format!("reading the distribution's index: {text}"));
            if expired {
                error.help("this mirror is a frozen copy; if that is meant, add --allow-expired-release")
            } else {
                error.help("check the mirror (--debian-mirror) and the network")
            }
        })
    }

    /// The verified indices with the name of their archive.
    fn indices(&self, mirrors: &Mirrors) -> Result<Vec<(&'static str, String)>> {
        let format = ["indextargets", "--format", "$(FILENAME)\t$(SITE)", "Created-By: Packages"];
        let targets = self.command("apt-get").args(format).run("apt")?;
        let mut indices = Vec::new();
        for line in String::from_utf8_lossy(&targets.stdout).lines() {
            let Some((path, site)) = line.split_once('\t') else { continue };
            let archive = match site.trim_end_matches('/') {
                site if site == mirrors.security => SECURITY,
                site if site == mirrors.main => MAIN,
                _ => continue,
            };
            if Path::new(path).exists() {
                indices.push((archive, fs::read_to_string(path).at("reading", path)?));
            }
        }
        Ok(indices)
    }

    /// The version that apt would install.
    fn candidate(&self, name: &str) -> Result<String> {
        let output = self.command("apt-cache").args(["show", "--no-all-versions", name]).run("apt")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let version = stanzas(&text).next().map(|stanza| stanza.version.to_owned());
        version.ok_or_else(|| Error::new(Class::Definition, format!("the distribution has no package \"{name}\"")))
    }
}
