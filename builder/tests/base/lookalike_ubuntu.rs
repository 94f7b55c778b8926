//! An archive in the shape of Ubuntu's: three releases with updates and security updates, main and universe,
//! phased updates, packages packed with zstd, ports, and a key of its own. Debian's packages are in it.

use super::*;
use kiln::base::BaseRequest;
use kiln::base::apt::ubuntu::UBUNTU;
use kiln::definition::plan::BasePlan;
use kiln::registry;
use testkit::archive::{self, Key, Suite};

const SUITES: &[&str] = &["jammy", "noble", "resolute"];

/// Larger packages stay as Debian packed them, to save time.
const REPACKED: u64 = 300_000;

/// Small packages of the test: name, version, pocket, component, further fields of the list.
const SMALL: &[(&str, &str, &str, &str, &str)] = &[
    ("ripe", "1.0", "", "main", ""),
    ("ripe", "1.1", "-updates", "main", ""),
    ("phased", "1.0", "", "main", ""),
    ("phased", "1.1", "-updates", "main", "Phased-Update-Percentage: 1\n"),
    ("halted", "1.0", "", "main", ""),
    ("halted", "1.1", "-updates", "main", "Phased-Update-Percentage: 0\n"),
    ("urgent", "1.0", "", "main", ""),
    ("urgent", "1.2", "-security", "main", ""),
    ("free", "1.0", "", "universe", ""),
];

/// What is installed of them: name and version.
const NEWEST: &[(&str, &str)] =
    &[("free", "1.0"), ("halted", "1.1"), ("phased", "1.1"), ("ripe", "1.1"), ("urgent", "1.2")];

/// How the releases differ in what an image asks for, of the packages that no image names itself.
struct Release {
    suite: &'static str,
    definition: &'static str,
    /// Packages that other releases have.
    lacks: &'static [&'static str],
    /// What is locked for the links of a merged `/usr`.
    merged: &'static str,
    arches: &'static [Arch],
}

const BOTH: &[Arch] = &[Arch::Amd64, Arch::Arm64];

const RELEASES: &[Release] = &[
    Release {
        suite: "jammy",
        definition: "images/ubuntu-22.04.toml",
        lacks: &["systemd-boot-efi", "systemd-resolved", "usr-is-merged"],
        merged: "usrmerge",
        arches: BOTH,
    },
    Release {
        suite: "noble",
        definition: "images/ubuntu-24.04.toml",
        lacks: &[],
        merged: "usr-is-merged",
        arches: BOTH,
    },
    Release {
        suite: "noble",
        definition: "images/ubuntu-24.04-metal.toml",
        lacks: &[],
        merged: "usr-is-merged",
        // arm64 has no packages of microcode.
        arches: &[Arch::Amd64],
    },
    Release {
        suite: "resolute",
        definition: "images/ubuntu-26.04.toml",
        lacks: &[],
        merged: "usr-is-merged",
        arches: BOTH,
    },
];

struct Archive {
    folder: PathBuf,
    home: PathBuf,
}

impl Archive {
    fn keyring(&self) -> PathBuf {
        self.home.join("key/public.gpg")
    }

    fn mirrors(&self) -> Mirrors {
        let root = format!("file://{}", self.folder.display());
        Mirrors { main: root.clone(), security: Some(root) }
    }

    fn lock(&self, suite: &str, arch: Arch, keyring: &Path) -> Result<Vec<LockedPackage>, Error> {
        let names: Vec<&str> = NEWEST.iter().map(|(name, _)| *name).collect();
        let base = PackagesPlan { distribution: "ubuntu".into(), ..plan(suite, &names) };
        self.lock_plan(&base, &[], arch, keyring)
    }

    fn lock_plan(
        &self,
        base: &PackagesPlan,
        extract: &[String],
        arch: Arch,
        keyring: &Path,
    ) -> Result<Vec<LockedPackage>, Error> {
        let scratch = TempDir::new().unwrap();
        let request = Resolve {
            distribution: &UBUNTU,
            base,
            arch,
            extract,
            mirrors: &self.mirrors(),
            held: &[],
            older: None,
            keyring: Some(keyring),
            snapshot: None,
            allow_expired_release: false,
            scratch: scratch.path(),
        };
        resolve(&request, &Progress::silent()).map(|resolution| resolution.packages)
    }
}

fn small(name: &str, version: &str, folder: &Path) -> PathBuf {
    let root = folder.join(format!("{name}-{version}"));
    let file = folder.join(format!("{name}_{version}_amd64.deb"));
    let control = format!("Package: {name}\nVersion: {version}\nArchitecture: amd64\n");
    archive::package(&root, &control, &file);
    file
}

/// Writes and signs the lists of one pocket.
fn pocket(archive: &Path, name: &str, arch: &str, lists: [&str; 2], key: &Key) {
    pocket_until(archive, name, arch, lists, key, None);
}

fn pocket_until(archive: &Path, name: &str, arch: &str, lists: [&str; 2], key: &Key, end: Option<&str>) {
    let suite = Suite {
        origin: "Ubuntu",
        name,
        date: "Thu, 25 Apr 2024 15:10:33 UTC",
        valid_until: end,
        arch,
        components: &[("main", lists[0]), ("universe", lists[1])],
    };
    suite.write(archive, key);
}

/// The archives of amd64 and of ports.
fn archives(mirrors: &Mirrors, home: &Path) -> [Archive; 2] {
    let debian = lock(&plan("trixie", &[]), &[], mirrors).unwrap();
    let folder = download(&debian, mirrors);
    let key = Key::new(&home.join("key"));
    let [amd64, ports] =
        ["ubuntu", "ubuntu-ports"].map(|name| Archive { folder: home.join(name), home: home.to_owned() });
    let mut base = String::new();
    for package in &debian {
        let file = folder.join(package.sha256.hex());
        let bytes =
            if package.size < REPACKED { archive::with_zstd(&file) } else { fs::read(&file).unwrap() };
        base += &archive::publish(&amd64.folder, &file, &bytes, "");
    }
    for pocket_name in ["", "-updates", "-security"] {
        let mut main = if pocket_name.is_empty() { base.clone() } else { String::new() };
        let mut universe = String::new();
        for (name, version, _, component, further) in SMALL.iter().filter(|small| small.2 == pocket_name) {
            let file = small(name, version, home);
            let stanza = archive::publish(&amd64.folder, &file, &fs::read(&file).unwrap(), further);
            if *component == "main" { &mut main } else { &mut universe }.push_str(&stanza);
        }
        for suite in SUITES {
            let suite = format!("{suite}{pocket_name}");
            pocket(&amd64.folder, &suite, "amd64", [&main, &universe], &key);
            let arm64 = |list: &str| list.replace("Architecture: amd64", "Architecture: arm64");
            pocket(&ports.folder, &suite, "arm64", [&arm64(&main), &arm64(&universe)], &key);
        }
    }
    [amd64, ports]
}

fn programs(test: &str) -> Option<Mirrors> {
    let mirrors = ready(test)?;
    have(test, archive::TOOLS).then_some(mirrors)
}

fn have(test: &str, programs: &[&str]) -> bool {
    let missing = programs.iter().find(|program| tool(program).arg("--version").run("").is_err());
    if let Some(program) = missing {
        testkit::not_run(test, &format!("no {program}"));
    }
    missing.is_none()
}

/// The stanzas of packages that nobody fetches.
fn stanzas(names: impl Iterator<Item = String>, arch: Arch) -> String {
    let stanza = |name: String| {
        // As in Ubuntu's lists, where an essential package has it.
        let needs = match name.as_str() {
            "init-system-helpers" => "Essential: yes\nDepends: usrmerge | usr-is-merged\n",
            _ => "",
        };
        format!(
            "Package: {name}\nVersion: 1\nArchitecture: {}\n{needs}Filename: pool/{name}.deb\nSize: 1\nSHA256: {}\n\n",
            debian_name(arch),
            Digest::of(name.as_bytes()).hex()
        )
    };
    names.map(stanza).collect()
}

const fn debian_name(arch: Arch) -> &'static str {
    match arch {
        Arch::Amd64 => "amd64",
        Arch::Arm64 => "arm64",
    }
}

/// What somebody does to an archive.
type Change<'a> = &'a dyn Fn(&Path);

#[test]
fn lookalike_ubuntu_lists_that_do_not_count_are_refused() {
    const TEST: &str = "lookalike_ubuntu_lists_that_do_not_count_are_refused";
    if !have(TEST, &[archive::TOOLS, &["apt-get"]].concat()) {
        return;
    }
    let home = TempDir::new().unwrap();
    let (key, expired) = (Key::new(&home.path().join("key")), Key::expired(&home.path().join("expired")));
    let (list, older) =
        ("Package: a\nVersion: 2\nArchitecture: all\n\n", "Package: a\nVersion: 1\nArchitecture: all\n\n");
    let (signed, over) = ("dists/noble/InRelease", Some("Fri, 26 Apr 2024 15:10:33 UTC"));
    let change = |file: &Path, from: &str, to: &str| {
        let text = fs::read_to_string(file).unwrap();
        assert!(text.contains(from), "{text}");
        fs::write(file, text.replacen(from, to, 1)).unwrap();
    };
    let cases: [(&str, Change<'_>, &Key, &str); 5] = [
        ("an expired key", &|_| (), &expired, "--ubuntu-keyring"),
        (
            "a changed list of lists",
            &|root| change(&root.join(signed), "Label: Ubuntu", "Label: Ubunto"),
            &key,
            "--ubuntu-keyring",
        ),
        (
            "no signature",
            &|root| {
                fs::copy(root.join("dists/noble/Release"), root.join(signed)).unwrap();
            },
            &key,
            "--ubuntu-keyring",
        ),
        (
            "an older list of packages",
            &|root| fs::write(root.join("dists/noble/main/binary-amd64/Packages"), older).unwrap(),
            &key,
            "do not fit together",
        ),
        (
            "an older list of lists with its good signature",
            &|root| pocket_until(root, "noble", "amd64", [older, ""], &key, over),
            &key,
            "--allow-expired-release",
        ),
    ];
    for (index, (name, change, key, hint)) in cases.into_iter().enumerate() {
        let archive = Archive { folder: home.path().join(index.to_string()), home: home.path().to_owned() };
        for suite in ["noble", "noble-updates", "noble-security"] {
            pocket(&archive.folder, suite, "amd64", [list, ""], key);
        }
        change(&archive.folder);
        let error = archive.lock("noble", Arch::Amd64, &key.keyring()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Fetch, "{name}: {error}");
        assert!(error.hint().unwrap().contains(hint), "{name}: {error} {:?}", error.hint());
    }
}

/// A list of each release has what it really has, so that a definition which asks for more, or resolves to
/// something else, fails here.
#[test]
fn lookalike_ubuntu_every_definition_is_locked_in_its_release_for_both_architectures() {
    const TEST: &str = "lookalike_ubuntu_every_definition_is_locked_in_its_release_for_both_architectures";
    if !have(TEST, &[archive::TOOLS, &["apt-get"]].concat()) {
        return;
    }
    let home = TempDir::new().unwrap();
    let key = Key::new(&home.path().join("key"));
    for (index, release) in RELEASES.iter().enumerate() {
        for arch in release.arches.iter().copied() {
            let set = format!("arch={:?}", debian_name(arch));
            let definition = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(release.definition);
            let loaded = registry::load(&definition, &[set], None).unwrap();
            let request = BaseRequest::of(&loaded.plan);
            let BasePlan::Packages(base) = request.plan else { panic!("{} has no packages", release.suite) };
            assert_eq!(base.suite, release.suite);

            let folder = home.path().join(format!("{index}-{}", debian_name(arch)));
            let archive = Archive { folder, home: home.path().to_owned() };
            let common =
                ["init-system-helpers", "systemd-boot-efi", "systemd-resolved", "usr-is-merged", "usrmerge"];
            let (common, asked) =
                (common.map(str::to_owned), base.packages.iter().chain(&request.extract).cloned());
            let mut has: Vec<String> = asked.chain(common).collect();
            has.retain(|name| !release.lacks.contains(&name.as_str()));
            has.sort();
            has.dedup();
            let list = stanzas(has.into_iter(), arch);
            for name in ["", "-updates", "-security"] {
                let main = if name.is_empty() { list.as_str() } else { "" };
                let suite = format!("{}{name}", release.suite);
                pocket(&archive.folder, &suite, debian_name(arch), [main, ""], &key);
            }
            let locked = archive.lock_plan(base, &request.extract, arch, &archive.keyring()).unwrap();
            let merged: Vec<&str> =
                names(&locked, true).into_iter().filter(|name| name.contains("merge")).collect();
            assert_eq!(merged, [release.merged], "{}", release.definition);
            let has_package = |name: &&str| match *name {
                "grub-pc-bin" => arch == Arch::Amd64,
                name => !release.lacks.contains(&name),
            };
            let loader: Vec<&str> =
                ["grub-pc-bin", "systemd-boot-efi"].into_iter().filter(has_package).collect();
            assert_eq!(names(&locked, false), loader, "{}", release.definition);
        }
    }
}

#[test]
fn lookalike_ubuntu_is_locked_and_built_twice_the_same() {
    let Some(mirrors) = programs("lookalike_ubuntu_is_locked_and_built_twice_the_same") else { return };
    let home = TempDir::new().unwrap();
    let [amd64, ports] = archives(&mirrors, home.path());
    let mut locks = SUITES.iter().map(|suite| amd64.lock(suite, Arch::Amd64, &amd64.keyring()).unwrap());
    let locked = locks.next().unwrap();
    for other in locks {
        assert_eq!(other, locked);
    }
    assert!(locked.iter().all(|package| package.archive == "ubuntu"));
    for (name, version) in NEWEST {
        let found = locked.iter().find(|package| package.name == *name).unwrap();
        assert_eq!((found.version.as_str(), found.architecture.as_str()), (*version, "amd64"), "{name}");
    }
    let of_ports = ports.lock("noble", Arch::Arm64, &ports.keyring()).unwrap();
    assert_eq!(names(&of_ports, true), names(&locked, true));
    assert!(of_ports.iter().any(|package| package.architecture == "arm64"));

    let stranger = Key::new(&home.path().join("stranger"));
    let error = amd64.lock("noble", Arch::Amd64, &stranger.keyring()).unwrap_err();
    assert!(
        error.kind() == ErrorKind::Fetch && error.hint().unwrap().contains("--ubuntu-keyring"),
        "{error}"
    );

    let store = TempDir::new().unwrap();
    for package in &locked {
        fs::copy(amd64.folder.join(&package.path), store.path().join(package.sha256.hex())).unwrap();
    }
    let first = digest(&locked, store.path());
    assert_eq!(first, digest(&locked, store.path()));
}

#[test]
fn lookalike_ubuntu_is_locked_the_same_whatever_the_hosts_machine_id() {
    const TEST: &str = "lookalike_ubuntu_is_locked_the_same_whatever_the_hosts_machine_id";
    if let Some(job) = std::env::var_os(JOB).map(PathBuf::from) {
        let archive = Archive { folder: job.join("ubuntu"), home: job.clone() };
        let locked = archive.lock("noble", Arch::Amd64, &archive.keyring()).unwrap();
        fs::write(job.join("lock.json"), serde_json::to_vec(&locked).unwrap()).unwrap();
        return;
    }
    let Some(mirrors) = programs(TEST) else { return };
    if !nix::unistd::geteuid().is_root() || !Path::new("/etc/machine-id").exists() {
        return testkit::not_run(TEST, "only root can give a process another /etc/machine-id");
    }
    let home = TempDir::new().unwrap();
    let [..] = archives(&mirrors, home.path());
    fs::copy(std::env::current_exe().unwrap(), home.path().join("test")).unwrap();
    let lock_of = |id: &str| {
        let file = home.path().join("machine-id");
        fs::write(&file, format!("{id}\n")).unwrap();
        // A first process of its own: apt spares a chroot from phasing, and takes a container for one.
        let mut command = tool("unshare");
        command.args(["--mount", "--pid", "--fork", "--mount-proc", "sh", "-euc"]);
        command.arg(r#"mount --bind "$0" /etc/machine-id; exec "$@""#).arg(&file);
        again(&format!("lookalike_ubuntu::{TEST}"), home.path(), &mut command)
            .run("util-linux")
            .unwrap();
        fs::read(home.path().join("lock.json")).unwrap()
    };
    let one = lock_of("11111111111111111111111111111111");
    assert_eq!(lock_of("22222222222222222222222222222222"), one);
    let locked: Vec<LockedPackage> = serde_json::from_slice(&one).unwrap();
    for (name, version) in NEWEST {
        assert_eq!(locked.iter().find(|package| package.name == *name).unwrap().version, *version, "{name}");
    }
}
