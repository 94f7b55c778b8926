//! An archive in the shape of Ubuntu's: three releases with updates and security updates, main and universe,
//! phased updates, packages packed with zstd, ports, and a key of its own. Debian's packages are in it.

use super::*;
use kiln::base::apt::ubuntu::UBUNTU;

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

struct Archive {
    folder: PathBuf,
    home: PathBuf,
}

impl Archive {
    fn keyring(&self) -> PathBuf {
        self.home.join("archive.gpg")
    }

    fn mirrors(&self) -> Mirrors {
        let root = format!("file://{}", self.folder.display());
        Mirrors { main: root.clone(), security: Some(root) }
    }

    fn lock(&self, suite: &str, arch: Arch, keyring: &Path) -> Result<Vec<LockedPackage>, Error> {
        let names: Vec<&str> = NEWEST.iter().map(|(name, _)| *name).collect();
        let scratch = TempDir::new().unwrap();
        let request = Resolve {
            distribution: &UBUNTU,
            base: &PackagesPlan { distribution: "ubuntu".into(), ..plan(suite, &names) },
            arch,
            extract: &[],
            mirrors: &self.mirrors(),
            keyring: Some(keyring),
            snapshot: None,
            allow_expired_release: false,
            scratch: scratch.path(),
        };
        resolve(&request, &Progress::silent()).map(|resolution| resolution.packages)
    }
}

/// Runs a program and returns what it prints.
fn output(program: &str, arguments: &[&str]) -> Vec<u8> {
    tool(program).args(arguments).run(program).unwrap().stdout
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A key of its own, in the file `name` of `home`.
fn key(home: &Path, name: &str) -> PathBuf {
    let homedir = home.join(format!("{name}.home"));
    fs::create_dir_all(&homedir).unwrap();
    fs::set_permissions(&homedir, fs::Permissions::from_mode(0o700)).unwrap();
    let gpg = ["--homedir", path(&homedir), "--batch", "--passphrase", "", "--quick-generate-key"];
    output("gpg", &[&gpg[..], &["Test <test@example.com>", "ed25519", "sign", "never"]].concat());
    let keyring = home.join(format!("{name}.gpg"));
    output("gpg", &["--homedir", path(&homedir), "--output", path(&keyring), "--export"]);
    keyring
}

/// The same package with zstd, as Ubuntu packs them.
fn with_zstd(package: &Path) -> Vec<u8> {
    let members = [("control.tar.zst", "--ctrl-tarfile"), ("data.tar.zst", "--fsys-tarfile")];
    let mut packed = b"!<arch>\n".to_vec();
    let mut add = |name: &str, body: &[u8]| {
        let header = format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 100644, body.len());
        packed.extend_from_slice(header.as_bytes());
        packed.extend_from_slice(body);
        packed.resize(packed.len().next_multiple_of(2), b'\n');
    };
    add("debian-binary", b"2.0\n");
    for (name, option) in members {
        add(name, &zstd::encode_all(&output("dpkg-deb", &[option, path(package)])[..], 1).unwrap());
    }
    packed
}

fn small(name: &str, version: &str, folder: &Path) -> PathBuf {
    let root = folder.join(format!("{name}-{version}"));
    fs::create_dir_all(root.join("DEBIAN")).unwrap();
    let control = format!(
        "Package: {name}\nVersion: {version}\nArchitecture: amd64\nMaintainer: Test <test@example.com>\nDescription: a test\n"
    );
    fs::write(root.join("DEBIAN/control"), control).unwrap();
    let file = folder.join(format!("{name}_{version}_amd64.deb"));
    output("dpkg-deb", &["--root-owner-group", "-Zzstd", "--build", path(&root), path(&file)]);
    file
}

/// Puts a package into the pool; gives its stanza of a package list.
fn publish(archive: &Path, package: &Path, bytes: &[u8], further: &str) -> String {
    let control = String::from_utf8(output("dpkg-deb", &["--field", path(package)])).unwrap();
    let digest = Digest::of(bytes);
    let name = format!("pool/{}.deb", digest.hex());
    fs::create_dir_all(archive.join("pool")).unwrap();
    fs::write(archive.join(&name), bytes).unwrap();
    format!("{control}Filename: {name}\nSize: {}\nSHA256: {}\n{further}\n", bytes.len(), digest.hex())
}

/// Writes and signs the lists of one pocket.
fn pocket(archive: &Path, suite: &str, arch: &str, lists: [(&str, &str); 2], homedir: &Path) {
    let folder = archive.join("dists").join(suite);
    let mut release = format!(
        "Origin: Ubuntu\nLabel: Ubuntu\nSuite: {suite}\nCodename: {suite}\nDate: Thu, 25 Apr 2024 15:10:33 UTC\n\
         Architectures: {arch}\nComponents: main universe\nSHA256:\n"
    );
    for (component, list) in lists {
        let name = format!("{component}/binary-{arch}/Packages");
        let file = folder.join(&name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, list).unwrap();
        release += &format!(" {} {} {name}\n", Digest::of(list.as_bytes()).hex(), list.len());
    }
    let plain = folder.join("Release");
    fs::write(&plain, release).unwrap();
    let signed = folder.join("InRelease");
    let gpg = ["--homedir", path(homedir), "--batch", "--output", path(&signed), "--clearsign", path(&plain)];
    output("gpg", &gpg);
}

/// The archives of amd64 and of ports.
fn archives(mirrors: &Mirrors, home: &Path) -> [Archive; 2] {
    let debian = lock(&plan("trixie", &[]), &[], mirrors).unwrap();
    let folder = download(&debian, mirrors);
    key(home, "archive");
    let homedir = home.join("archive.home");
    let [amd64, ports] =
        ["ubuntu", "ubuntu-ports"].map(|name| Archive { folder: home.join(name), home: home.to_owned() });
    let mut base = String::new();
    for package in &debian {
        let file = folder.join(package.sha256.hex());
        let bytes = if package.size < REPACKED { with_zstd(&file) } else { fs::read(&file).unwrap() };
        base += &publish(&amd64.folder, &file, &bytes, "");
    }
    for pocket_name in ["", "-updates", "-security"] {
        let mut main = if pocket_name.is_empty() { base.clone() } else { String::new() };
        let mut universe = String::new();
        for (name, version, _, component, further) in SMALL.iter().filter(|small| small.2 == pocket_name) {
            let file = small(name, version, home);
            let stanza = publish(&amd64.folder, &file, &fs::read(&file).unwrap(), further);
            if *component == "main" { &mut main } else { &mut universe }.push_str(&stanza);
        }
        for suite in SUITES {
            let suite = format!("{suite}{pocket_name}");
            pocket(&amd64.folder, &suite, "amd64", [("main", &main), ("universe", &universe)], &homedir);
            let arm64 = |list: &str| list.replace("Architecture: amd64", "Architecture: arm64");
            let lists = [("main", &*arm64(&main)), ("universe", &*arm64(&universe))];
            pocket(&ports.folder, &suite, "arm64", lists, &homedir);
        }
    }
    [amd64, ports]
}

fn programs(test: &str) -> Option<Mirrors> {
    let mirrors = ready(test)?;
    if tool("gpg").arg("--version").run("gpg").is_err() {
        testkit::not_run(test, "no gpg");
        return None;
    }
    Some(mirrors)
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

    let stranger = key(home.path(), "stranger");
    let error = amd64.lock("noble", Arch::Amd64, &stranger).unwrap_err();
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
