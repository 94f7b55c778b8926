//! The closure of a package set, computed by apt in a private folder. Of the machine's own apt, only its
//! proxies are read.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use contract::suggest::similar;

use super::{Archives, Distribution, Keys, Mirrors, Security, Unwanted, diagnosis, dummy_package, text};
use crate::base::LockedPackage;
use crate::base::stanza::{Stanza, stanzas};
use crate::definition::plan::{Arch, PackagesPlan};
use crate::definition::snapshot::Snapshot;
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::process::{Run, check, tool};
use crate::progress::Progress;

/// Names of packages are alike; below this, another one was not meant.
const SIMILAR: f64 = 0.85;

/// The fields of a Release file come before its long lists of digests.
const RELEASE_HEAD: u64 = 64 << 10;

/// The order for a resolution.
#[derive(Debug, Clone, Copy)]
pub struct Resolve<'a> {
    /// Of which distribution.
    pub distribution: &'a Distribution,
    /// Suite and packages.
    pub base: &'a PackagesPlan,
    /// For which architecture.
    pub arch: Arch,
    /// Packages of which only files are taken: locked without their dependencies.
    pub extract: &'a [String],
    /// Where the package lists are.
    pub mirrors: &'a Mirrors,
    /// Packages that keep their versions.
    pub held: &'a [&'a LockedPackage],
    /// The archive as it had all of them, for those that left the mirrors.
    pub older: Option<&'a Mirrors>,
    /// A file of keys that the user trusts instead of the distribution's own.
    pub keyring: Option<&'a Path>,
    /// The snapshot that the mirrors are. Its package lists may be past their Valid-Until.
    pub snapshot: Option<Snapshot>,
    /// Accept package lists past their Valid-Until from other mirrors too, such as frozen ones. Signatures
    /// are verified in any case.
    pub allow_expired_release: bool,
    /// A folder for apt's files. They stay there: about 60 MB.
    pub scratch: &'a Path,
}

/// The closure of a package set.
#[derive(Debug)]
pub struct Resolution {
    /// The packages, sorted by name.
    pub packages: Vec<LockedPackage>,
    /// The time of the newest package list that they were chosen from; `None` if no list says.
    pub newest_list: Option<Snapshot>,
}

/// Locks the closure of the packages of `base.packages` and of all essential ones, without recommended
/// packages, and the packages of `extract`. Needs the network.
///
/// # Errors
/// [`ErrorKind::Definition`] when a package does not exist or cannot be installed with the others;
/// [`ErrorKind::Fetch`] when the lists cannot be had or their signatures are wrong; [`ErrorKind::Tool`] when
/// apt or the archive's keys are missing.
pub fn resolve(request: &Resolve<'_>, progress: &Progress) -> Result<Resolution> {
    let title = format!("reading the package lists of {} {}", request.distribution.title, request.base.suite);
    let step = progress.step(&title);
    let mut apt = Apt::create(&Resolve { older: None, ..*request })?;
    apt.update()?;
    if request.older.is_some() && !apt.has_all(request.held)? {
        apt = Apt::create(request)?;
        apt.update()?;
    }
    drop(step);
    let _step = progress.step(&format!("resolving {} packages", request.base.packages.len()));
    let chosen = apt.closure(&request.base.packages)?;
    check_held(request.held, &chosen)?;
    let mut locked = apt.describe(&chosen, true)?;
    let extract: Vec<String> =
        request.extract.iter().filter(|name| !locked.contains_key(*name)).cloned().collect();
    check_names(&extract)?;
    let versions = apt.candidates(&extract)?;
    locked.extend(apt.describe(&versions, false)?);
    Ok(Resolution { packages: locked.into_values().collect(), newest_list: apt.newest_list()? })
}

/// What stays must not move with what moves.
fn check_held(held: &[&LockedPackage], chosen: &[(String, String)]) -> Result<()> {
    let moves = |(name, version): &&(String, String)| {
        held.iter().any(|package| package.name == *name && package.version != *version)
    };
    let moved: Vec<&str> = chosen.iter().filter(moves).map(|(name, _)| name.as_str()).collect();
    if moved.is_empty() {
        return Ok(());
    }
    let message = format!("no archive has the locked versions of {} any more", moved.join(", "));
    Err(Error::new(ErrorKind::Lock, message)
        .help("let them move too: add their names to --upgrade, or leave all names out"))
}

/// apt in a private folder, with its own configuration and state.
struct Apt<'a> {
    distribution: &'a Distribution,
    /// The folder with all of its files.
    root: PathBuf,
    config: PathBuf,
    suite: String,
    snapshot: Option<Snapshot>,
}

impl<'a> Apt<'a> {
    fn create(request: &Resolve<'a>) -> Result<Self> {
        let signed_by = signed_by(request.distribution, request.keyring)?;
        let root = std::path::absolute(request.scratch.join("apt")).at("resolving", request.scratch)?;
        for folder in [
            "etc/parts",
            "etc/sources",
            "etc/trusted",
            "etc/preferences",
            "state/lists/partial",
            "cache/archives/partial",
        ] {
            let path = root.join(folder);
            fs::create_dir_all(&path).at("creating", &path)?;
        }
        let suite = request.base.suite.clone();
        let write = |name: &str, content: String| {
            let path = root.join(name);
            fs::write(&path, content).at("writing", &path)
        };
        write("status", dummy_package::status())?;
        write("etc/sources.list", all_sources(request, &signed_by))?;
        write("etc/preferences/unwanted.pref", preferences(request.distribution.unwanted, &suite))?;
        write("etc/preferences/held.pref", hold(request.held))?;
        write("apt.conf", configuration(text(&root)?, request)? + &proxies())?;
        let (distribution, snapshot) = (request.distribution, request.snapshot);
        Ok(Self { distribution, config: root.join("apt.conf"), root, suite, snapshot })
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Result<Output> {
        self.command(program).args(arguments).run("apt")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = tool(program);
        command.env("APT_CONFIG", &self.config);
        command
    }

    fn update(&self) -> Result<()> {
        self.run("apt-get", &["-q", "update"])
            .map(drop)
            .map_err(|error| diagnosis::update(self.distribution, self.snapshot, error))
    }

    /// Whether the lists have the very versions of these packages.
    fn has_all(&self, held: &[&LockedPackage]) -> Result<bool> {
        if held.is_empty() {
            return Ok(true);
        }
        let mut command = self.command("apt-cache");
        command.arg("madison").args(held.iter().map(|package| &package.name));
        let output = command.run("apt")?;
        let text = String::from_utf8_lossy(&output.stdout);
        let known: BTreeSet<(&str, &str)> = text
            .lines()
            .filter_map(|line| {
                let mut fields = line.split('|').map(str::trim);
                Some((fields.next()?, fields.next()?))
            })
            .collect();
        Ok(held
            .iter()
            .all(|package| known.contains(&(package.name.as_str(), package.version.as_str()))))
    }

    /// The time of the newest package list. apt has verified all that are in its folder.
    fn newest_list(&self) -> Result<Option<Snapshot>> {
        let folder = self.root.join("state/lists");
        let mut newest = None;
        for entry in fs::read_dir(&folder).at("reading", &folder)? {
            let path = entry.at("reading", &folder)?.path();
            if path.to_string_lossy().ends_with("Release") {
                newest = newest.max(date(File::open(&path).at("opening", &path)?));
            }
        }
        Ok(newest)
    }

    /// Names and versions that apt would install.
    fn closure(&self, packages: &[String]) -> Result<Vec<(String, String)>> {
        check_names(packages)?;
        // apt explains conflicts on standard output.
        let mut command = self.command("apt-get");
        command.args(["-q", "--simulate", "install", "--", "?essential"]).args(packages);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = command
            .start("apt")?
            .wait_with_output()
            .map_err(|error| Error::new(ErrorKind::Tool, format!("waiting for apt: {error}")))?;
        check(&command, output.status, &[output.stdout.as_slice(), &output.stderr].concat())
            .map_err(|error| self.explain(error))?;
        Ok(installations(&String::from_utf8_lossy(&output.stdout)))
    }

    /// The version of each package that apt would install.
    fn candidates(&self, packages: &[String]) -> Result<Vec<(String, String)>> {
        let candidate = |package: &String| {
            // apt-cache fails for an unknown name, and shows nothing for a name that other packages provide.
            let shown = self
                .show(&["show", "--no-all-versions", "--"], std::slice::from_ref(package))
                .unwrap_or_default();
            let stanza = shown
                .iter()
                .find(|stanza| stanza.get("package") == package)
                .ok_or_else(|| self.unknown(package))?;
            Ok((package.clone(), stanza.get("version").to_owned()))
        };
        packages.iter().map(candidate).collect()
    }

    fn describe(
        &self,
        packages: &[(String, String)],
        install: bool,
    ) -> Result<BTreeMap<String, LockedPackage>> {
        if packages.is_empty() {
            return Ok(BTreeMap::new());
        }
        let exact: Vec<String> = packages.iter().map(|(name, version)| format!("{name}={version}")).collect();
        let mut locked = BTreeMap::new();
        for stanza in self.show(&["show", "--"], &exact)? {
            let package = lock(&self.distribution.archives, &stanza, install)?;
            // Both archives may have one version; every mirror has the main one.
            if !locked.contains_key(&package.name) || package.archive == self.distribution.archives.main {
                locked.insert(package.name.clone(), package);
            }
        }
        match packages.iter().find(|(name, _)| !locked.contains_key(name)) {
            None => Ok(locked),
            Some((name, version)) => Err(Error::new(
                ErrorKind::Internal,
                format!("apt chose {name} {version} and does not know it"),
            )),
        }
    }

    fn show(&self, arguments: &[&str], packages: &[String]) -> Result<Vec<Stanza>> {
        let mut command = self.command("apt-cache");
        command.args(arguments).args(packages);
        let output = command.run("apt").map_err(|error| self.explain(error))?;
        Ok(stanzas(&String::from_utf8_lossy(&output.stdout)).collect())
    }

    /// Turns apt's message on a package set into an error of the definition.
    fn explain(&self, error: Error) -> Error {
        match diagnosis::unknown_package(error.message()) {
            Some(name) => self.unknown(&name),
            None => diagnosis::unsatisfiable(self.distribution, error, &self.suite),
        }
    }

    fn unknown(&self, package: &str) -> Error {
        let error = Error::new(
            ErrorKind::Definition,
            format!("{} {} has no package \"{package}\"", self.distribution.title, self.suite),
        );
        let names = self
            .run("apt-cache", &["pkgnames"])
            .map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        let names = names.unwrap_or_default();
        match similar(package, names.lines(), SIMILAR).first() {
            Some((_, name)) => error.help(format!("did you mean \"{name}\"?")),
            None => error
                .help("check its name, and whether this release has it, with the archive's package search"),
        }
    }
}

/// The value of `signed-by` (sources.list(5)): a file of keys, and which of them count.
fn signed_by(distribution: &Distribution, named: Option<&Path>) -> Result<String> {
    let Keys { files, package, fingerprints, option } = &distribution.keys;
    if let Some(path) = named {
        return keys_of_the_user(path);
    }
    let file = files.iter().find(|path| Path::new(path).is_file()).ok_or_else(|| {
        let title = distribution.title;
        let other = option.map(|option| format!(", or name a file that has them with --{option}"));
        Error::new(
            ErrorKind::Tool,
            format!("the keys that verify {title}'s package lists are missing ({})", files[0]),
        )
        .help(format!("install them: apt-get install {package}{}", other.unwrap_or_default()))
    })?;
    Ok([file].into_iter().chain(*fingerprints).copied().collect::<Vec<_>>().join(","))
}

/// apt takes a missing file for one without keys, and has no way to write every path.
fn keys_of_the_user(path: &Path) -> Result<String> {
    let path = path.canonicalize().at("reading the keys in", path)?;
    let plain =
        |text: &&str| !text.contains(|letter: char| letter.is_whitespace() || "\"',[]".contains(letter));
    path.to_str().filter(plain).map(str::to_owned).ok_or_else(|| {
        Error::new(ErrorKind::Usage, format!("apt cannot read keys from {}", path.display()))
            .help("move them to a path without blanks, quotes, commas and brackets")
    })
}

/// sources.list(5) for the mirrors, and for the archive as it was, whose lists may have expired.
fn all_sources(request: &Resolve<'_>, signed_by: &str) -> String {
    let lines = |mirrors: &Mirrors, signed_by: &str| {
        sources(&request.distribution.archives, mirrors, request.base, request.arch, signed_by)
    };
    let older = request.older.map(|older| lines(older, &format!("{signed_by} check-valid-until=no")));
    lines(request.mirrors, signed_by) + &older.unwrap_or_default()
}

/// sources.list(5) for the suite with its updates; the suites that always move have none.
fn sources(
    archives: &Archives,
    mirrors: &Mirrors,
    base: &PackagesPlan,
    arch: Arch,
    signed_by: &str,
) -> String {
    let PackagesPlan { suite, components, .. } = base;
    let components = if components.is_empty() { archives.components } else { &components.join(" ") };
    let options = format!("[arch={} signed-by={signed_by}]", arch.name());
    let mut lines = format!("deb {options} {} {suite} {components}\n", mirrors.main);
    if !archives.moving_suites.contains(&suite.as_str()) {
        lines.push_str(&format!("deb {options} {} {suite}-updates {components}\n", mirrors.main));
        if let Some(security) = &mirrors.security {
            lines.push_str(&format!("deb {options} {security} {suite}-security {components}\n"));
        }
    }
    lines
}

/// apt_preferences(5): above 1000 a version counts even if a newer one is there.
fn hold(held: &[&LockedPackage]) -> String {
    held.iter()
        .map(|LockedPackage { name, version, .. }| {
            format!("Package: {name}\nPin: version {version}\nPin-Priority: 1001\n\n")
        })
        .collect()
}

fn preferences(unwanted: &[Unwanted], suite: &str) -> String {
    unwanted
        .iter()
        .filter(|unwanted| !unwanted.except.contains(&suite))
        .map(|Unwanted { package, .. }| format!("Package: {package}\nPin: release *\nPin-Priority: -1\n\n"))
        .collect()
}

/// apt.conf(5). apt reads the file named by APT_CONFIG before any other, and here it names no others.
fn configuration(root: &str, request: &Resolve<'_>) -> Result<String> {
    let arch = request.arch.name();
    let valid_until = if request.allow_expired_release || request.snapshot.is_some() {
        "Acquire::Check-Valid-Until \"false\";\n"
    } else {
        ""
    };
    Ok(format!(
        "Dir::Etc \"{root}/etc\";\nDir::Etc::main \"{root}/etc/none\";\nDir::Etc::parts \"{root}/etc/parts\";\n\
         Dir::Etc::sourcelist \"{root}/etc/sources.list\";\nDir::Etc::sourceparts \"{root}/etc/sources\";\n\
         Dir::Etc::trusted \"{root}/etc/none\";\nDir::Etc::trustedparts \"{root}/etc/trusted\";\n\
         Dir::Etc::preferences \"{root}/etc/none\";\nDir::Etc::preferencesparts \"{root}/etc/preferences\";\n\
         Dir::State \"{root}/state\";\nDir::State::status \"{root}/status\";\nDir::Cache \"{root}/cache\";\n\
         APT::Architecture \"{arch}\";\nAPT::Architectures {{ \"{arch}\"; }};\n\
         APT::Install-Recommends \"false\";\nAPT::Update::Error-Mode \"any\";\nAcquire::Languages \"none\";\nAcquire::Retries \"3\";\n\
         # Else this host's machine-id chooses. Without them the version could be the release's: older ones are gone.
         APT::Get::Always-Include-Phased-Updates \"true\";\n\
         # The folder may be closed to the user _apt.\nAPT::Sandbox::User \"\";\n\
         # apt counts itself as essential; an immutable image has no use for it.\npkgCacheGen::ForceEssential \",\";\n{valid_until}"
    ))
}

/// The proxies of the machine's own configuration; those of the environment apt reads itself.
fn proxies() -> String {
    let Ok(output) = tool("apt-config").args(["dump", "--format", "%F \"%v\";%n", "Acquire"]).run("apt")
    else {
        return String::new();
    };
    let dump = String::from_utf8_lossy(&output.stdout);
    let wanted =
        |line: &&str| line.split(' ').next().is_some_and(|key| key.to_ascii_lowercase().contains("proxy"));
    dump.lines().filter(wanted).map(|line| format!("{line}\n")).collect()
}

/// deb-control(5): a lower-case letter or digit, then also `+`, `-` and `.`. Anything else apt reads as an
/// option or a pattern.
fn check_names(packages: &[String]) -> Result<()> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let sound = |name: &str| {
        name.bytes().next().is_some_and(plain)
            && name.bytes().all(|byte| plain(byte) || b"+-.".contains(&byte))
    };
    match packages.iter().find(|name| !sound(name)) {
        None => Ok(()),
        Some(name) => {
            Err(Error::new(ErrorKind::Definition, format!("\"{name}\" is not the name of a package")).help(
                "write the name alone: versions are chosen by kiln lock, and the architecture is the image's",
            ))
        }
    }
}

/// The field `Date` at the beginning of a (signed) Release file.
fn date(file: impl Read) -> Option<Snapshot> {
    let mut head = Vec::new();
    file.take(RELEASE_HEAD).read_to_end(&mut head).ok()?;
    let head = String::from_utf8_lossy(&head);
    head.lines().find_map(|line| Snapshot::of_list(line.strip_prefix("Date:")?))
}

/// The lines `Inst NAME (VERSION …)` of a simulation.
fn installations(simulation: &str) -> Vec<(String, String)> {
    let found: BTreeSet<(String, String)> = simulation
        .lines()
        .filter_map(|line| {
            let mut words = line.strip_prefix("Inst ")?.split_whitespace();
            let name = words.next()?.split(':').next()?;
            let version = words.find_map(|word| word.strip_prefix('('))?;
            Some((name.to_owned(), version.to_owned()))
        })
        .collect();
    found.into_iter().collect()
}

fn lock(archives: &Archives, stanza: &Stanza, install: bool) -> Result<LockedPackage> {
    let name = stanza.get("package");
    let fail = |what: &str| {
        Error::new(ErrorKind::Fetch, format!("the package list has no {what} for {name}"))
            .help("choose another mirror")
    };
    let path = stanza.get("filename");
    if path.is_empty() {
        return Err(fail("file name"));
    }
    let archive = match archives.security {
        Security::Own { name, paths } if path.starts_with(paths) => name,
        _ => archives.main,
    };
    // deb-control(5): the version of the source package stands there if it is another one.
    let (source, source_version) = match stanza.get("source").split_once(' ') {
        Some((source, version)) => (source, Some(version.trim_matches(['(', ')', ' ']).to_owned())),
        None => (Some(stanza.get("source")).filter(|source| !source.is_empty()).unwrap_or(name), None),
    };
    Ok(LockedPackage {
        name: name.to_owned(),
        version: stanza.get("version").to_owned(),
        architecture: stanza.get("architecture").to_owned(),
        source: source.to_owned(),
        source_version,
        snapshot: None,
        archive: archive.to_owned(),
        path: path.to_owned(),
        size: stanza.get("size").parse().map_err(|_| fail("size"))?,
        sha256: stanza.get("sha256").parse().map_err(|_| fail("SHA-256"))?,
        install,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::apt::debian::DEBIAN;
    use crate::base::apt::ubuntu::UBUNTU;

    fn plan(suite: &str) -> PackagesPlan {
        PackagesPlan {
            distribution: String::new(),
            suite: suite.into(),
            snapshot: None,
            components: Vec::new(),
            packages: Vec::new(),
        }
    }

    #[test]
    fn a_definition_chooses_the_components() {
        let mirrors = Mirrors { main: "http://a.example/debian".into(), security: None };
        let chosen =
            PackagesPlan { components: vec!["main".into(), "non-free-firmware".into()], ..plan("sid") };
        assert_eq!(
            sources(&DEBIAN.archives, &mirrors, &chosen, Arch::Amd64, "/k.gpg"),
            "deb [arch=amd64 signed-by=/k.gpg] http://a.example/debian sid main non-free-firmware\n"
        );
    }

    #[test]
    fn reads_what_apt_would_install() {
        let text = "Reading package lists...\nInst base-files (13.8 Debian:13.8/stable [amd64])\nConf base-files (13.8 Debian:13.8/stable)\n\
                    Inst libc6:amd64 [2.40-1] (2.41-12 Debian:13.8/stable, Debian-Security:13 [amd64]) []\n";
        let expected =
            [("base-files", "13.8"), ("libc6", "2.41-12")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        assert_eq!(installations(text), expected);
    }

    #[test]
    fn locks_what_the_list_says() {
        let stanza = Stanza::parse(
            "Package: linux-image\nSource: linux-signed (6.12+1)\nVersion: 6.12-1\nArchitecture: amd64\n\
             Filename: pool/updates/main/l/linux.deb\nSize: 7\nSHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n",
        );
        let locked = lock(&DEBIAN.archives, &stanza, true).unwrap();
        assert_eq!(
            (locked.source.as_str(), locked.archive.as_str(), locked.size),
            ("linux-signed", "debian-security", 7)
        );
        assert_eq!(locked.source_version.as_deref(), Some("6.12+1"));
        let error = lock(&DEBIAN.archives, &Stanza::parse("Package: a\nFilename: pool/a\nSize: 1\n"), true)
            .unwrap_err();
        assert!(error.message().contains("no SHA-256 for a"), "{error}");
    }

    #[test]
    fn refuses_names_that_apt_would_read_otherwise() {
        assert!(check_names(&["g++".into(), "libstdc++6".into(), "linux-image-6.1-amd64".into()]).is_ok());
        for wrong in ["", "-o", "bash=5", "?essential", "bash/sid", "Bash", "libc6:i386", "a*"] {
            assert_eq!(check_names(&[wrong.into()]).unwrap_err().kind(), ErrorKind::Definition, "{wrong}");
        }
    }

    #[test]
    fn moving_suites_have_no_updates() {
        let mirrors = Mirrors {
            main: "http://a.example/debian".into(),
            security: Some("http://a.example/security".into()),
        };
        assert_eq!(
            sources(&DEBIAN.archives, &mirrors, &plan("sid"), Arch::Amd64, "/k.gpg"),
            "deb [arch=amd64 signed-by=/k.gpg] http://a.example/debian sid main\n"
        );
        let stable = sources(&DEBIAN.archives, &mirrors, &plan("trixie"), Arch::Arm64, "/k.gpg");
        assert_eq!(stable.lines().count(), 3);
        assert!(
            stable.ends_with(
                "deb [arch=arm64 signed-by=/k.gpg] http://a.example/security trixie-security main\n"
            ),
            "{stable}"
        );
    }

    #[test]
    fn missing_keys_name_their_package() {
        let without =
            Distribution { keys: Keys { files: &["/nonexistent/keyring.gpg"], ..DEBIAN.keys }, ..DEBIAN };
        let error = signed_by(&without, None).unwrap_err();
        assert_eq!(error.hint(), Some("install them: apt-get install debian-archive-keyring"));
        let without =
            Distribution { keys: Keys { files: &["/nonexistent/keyring.gpg"], ..UBUNTU.keys }, ..UBUNTU };
        let error = signed_by(&without, None).unwrap_err();
        assert!(error.hint().unwrap().contains("--ubuntu-keyring"), "{error}");
    }

    #[test]
    fn only_the_pinned_keys_of_the_hosts_keyring_count() {
        let folder = tempfile::TempDir::new().unwrap();
        let file = folder.path().join("keys.gpg");
        fs::write(&file, "keys").unwrap();
        let files: &'static [&'static str] = vec![&*file.to_str().unwrap().to_owned().leak()].leak();
        let here = Distribution { keys: Keys { files, ..UBUNTU.keys }, ..UBUNTU };
        let [first, second] = UBUNTU.keys.fingerprints else { panic!("two keys are pinned") };
        assert_eq!(signed_by(&here, None).unwrap(), format!("{},{first},{second}", files[0]));
        assert_eq!(signed_by(&here, Some(&file)).unwrap(), file.canonicalize().unwrap().to_str().unwrap());
        assert_eq!(signed_by(&here, Some(&folder.path().join("none"))).unwrap_err().kind(), ErrorKind::Io);
        let blank = folder.path().join("a b");
        fs::write(&blank, "keys").unwrap();
        assert_eq!(signed_by(&here, Some(&blank)).unwrap_err().kind(), ErrorKind::Usage);
    }

    #[test]
    fn the_pockets_of_a_release_are_in_one_archive() {
        let mirrors = Mirrors { main: "http://a.example/ubuntu-ports".into(), security: None };
        let security = Some("http://b.example/ubuntu-ports".to_owned());
        let lines =
            |mirrors: &Mirrors| sources(&UBUNTU.archives, mirrors, &plan("noble"), Arch::Arm64, "/k.gpg");
        let options = "deb [arch=arm64 signed-by=/k.gpg]";
        let without = format!(
            "{options} http://a.example/ubuntu-ports noble main universe\n\
             {options} http://a.example/ubuntu-ports noble-updates main universe\n"
        );
        assert_eq!(lines(&mirrors), without);
        let with = format!("{without}{options} http://b.example/ubuntu-ports noble-security main universe\n");
        assert_eq!(lines(&Mirrors { security, ..mirrors }), with);
    }

    #[test]
    fn usrmerge_is_let_in_only_where_nothing_else_will_do() {
        assert_eq!(preferences(UBUNTU.unwanted, "jammy"), "");
        for suite in ["noble", "resolute"] {
            assert!(preferences(UBUNTU.unwanted, suite).starts_with("Package: usrmerge\n"), "{suite}");
        }
    }
}
