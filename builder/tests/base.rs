//! The Debian base with real packages: resolving, building, and that everybody builds the same.
//!
//! Needs the network (a Debian mirror, see `kiln::base::apt::mirrors`), mmdebstrap and the archive's keys;
//! says so where they are missing.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use kiln::base::LockedPackage;
use kiln::base::apt::debian::DEBIAN;
use kiln::base::apt::{Build, Mirrors, Resolve, build, mirrors, resolve, url};
use kiln::definition::plan::{Arch, PackagesPlan};
use kiln::digest::{Digest, DigestWriter};
use kiln::error::{Error, ErrorKind};
use kiln::process::{Run, tool};
use kiln::progress::Progress;
use tempfile::TempDir;

#[path = "base/lookalike_ubuntu.rs"]
mod lookalike_ubuntu;

const EPOCH: u64 = 1_577_836_800;

/// What a node needs, in short.
const NODE: &[&str] = &[
    "ca-certificates",
    "conntrack",
    "dbus",
    "e2fsprogs",
    "iproute2",
    "iptables",
    "kmod",
    "linux-image-cloud-amd64",
    "nftables",
    "procps",
    "socat",
    "systemd-resolved",
    "systemd-sysv",
    "systemd-timesyncd",
    "udev",
];

/// Set in a process that a test starts to build once more in other circumstances: the folder with `lock.json`
/// and the packages.
const JOB: &str = "KILN_TEST_BASE_JOB";

fn plan(suite: &str, packages: &[&str]) -> PackagesPlan {
    PackagesPlan {
        distribution: "debian".into(),
        suite: suite.into(),
        snapshot: None,
        components: Vec::new(),
        packages: packages.iter().map(|name| (*name).into()).collect(),
    }
}

/// The mirrors; where this test cannot run, nothing, and the reason is printed.
fn ready(test: &str) -> Option<Mirrors> {
    let missing = ["mmdebstrap", "apt-get"]
        .into_iter()
        .find(|program| tool(program).arg("--version").run("").is_err());
    let keys = Path::new("/usr/share/keyrings/debian-archive-keyring.gpg").exists();
    match (missing, keys, mirrors(&DEBIAN, Arch::Amd64, None)) {
        (None, true, Ok(mirrors)) => return Some(mirrors),
        (Some(program), ..) => testkit::not_run(test, &format!("no {program}")),
        (_, false, _) => testkit::not_run(test, "no debian-archive-keyring"),
        (.., Err(error)) => testkit::not_run(test, &error.to_string()),
    }
    None
}

fn lock(base: &PackagesPlan, extract: &[&str], mirrors: &Mirrors) -> Result<Vec<LockedPackage>, Error> {
    let scratch = TempDir::new().unwrap();
    let extract: Vec<String> = extract.iter().map(|name| (*name).into()).collect();
    let request = Resolve {
        distribution: &DEBIAN,
        base,
        arch: Arch::Amd64,
        extract: &extract,
        mirrors,
        held: &[],
        older: None,
        keyring: None,
        snapshot: None,
        allow_expired_release: false,
        scratch: scratch.path(),
    };
    resolve(&request, &Progress::silent()).map(|resolution| resolution.packages)
}

/// Downloads what is not there yet. The folder outlives the tests: packages are fetched once.
fn download(packages: &[LockedPackage], mirrors: &Mirrors) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("debian-packages");
    fs::create_dir_all(&folder).unwrap();
    for package in packages {
        let path = folder.join(package.sha256.hex());
        if !path.exists() {
            let partial = TempDir::new_in(&folder).unwrap();
            let file = partial.path().join("package");
            let hash = format!("SHA256:{}", package.sha256.hex());
            tool("/usr/lib/apt/apt-helper")
                .args(["download-file", &url(&DEBIAN, mirrors, package).unwrap()])
                .arg(&file)
                .arg(hash)
                .run("apt")
                .unwrap();
            fs::rename(&file, &path).unwrap();
        }
    }
    folder
}

fn built<T>(
    packages: &[LockedPackage],
    folder: &Path,
    sink: impl FnOnce(&mut dyn Read) -> Result<T, Error>,
) -> Result<T, Error> {
    let blob = |package: &LockedPackage| Ok(folder.join(package.sha256.hex()));
    // A build that is killed leaves it beside the packages.
    let scratch = TempDir::new_in(folder).or_else(|_| TempDir::new()).unwrap();
    let request = Build {
        distribution: &DEBIAN,
        base: &plan("test", &[]),
        arch: Arch::Amd64,
        packages,
        blob: &blob,
        epoch: EPOCH,
        scratch: scratch.path(),
        sent: &|| (),
    };
    build(&request, &Progress::silent(), sink)
}

fn digest(packages: &[LockedPackage], folder: &Path) -> Digest {
    let sink = |tar: &mut dyn Read| {
        let mut writer = DigestWriter::new(io::sink());
        io::copy(tar, &mut writer).unwrap();
        Ok(writer.finish().1)
    };
    built(packages, folder, sink).unwrap()
}

fn names(packages: &[LockedPackage], install: bool) -> Vec<&str> {
    packages
        .iter()
        .filter(|package| package.install == install)
        .map(|package| package.name.as_str())
        .collect()
}

#[test]
fn the_lock_holds_the_closure_without_an_initrd_generator() {
    let Some(mirrors) = ready("the_lock_holds_the_closure_without_an_initrd_generator") else { return };
    for suite in ["bookworm", "trixie"] {
        let locked = lock(&plan(suite, NODE), &["systemd-boot-efi"], &mirrors).unwrap();
        assert!(locked.is_sorted_by(|a, b| a.name < b.name));
        assert_eq!(names(&locked, false), ["systemd-boot-efi"]);
        let installed = names(&locked, true);
        for name in ["base-passwd", "dpkg", "libc6", "systemd", "linux-image-cloud-amd64"] {
            assert!(installed.contains(&name), "{suite} has no {name}");
        }
        for name in [
            "initramfs-tools",
            "tiny-initramfs",
            "dracut",
            "busybox",
            "apt",
            "usrmerge",
            "perl",
            "kiln-initrd",
        ] {
            assert!(!installed.contains(&name), "{suite} has {name}");
        }
        let kernel = locked
            .iter()
            .find(|package| package.name.starts_with("linux-image-") && package.name.contains("cloud-amd64"))
            .unwrap();
        assert_eq!(kernel.source, "linux-signed-amd64");
        assert!(
            locked
                .iter()
                .all(|package| package.size > 0 && ["amd64", "all"].contains(&package.architecture.as_str()))
        );
    }
}

#[test]
fn what_cannot_be_resolved_is_said_by_name() {
    let Some(mirrors) = ready("what_cannot_be_resolved_is_said_by_name") else { return };
    let error = lock(&plan("trixie", &["sistemd"]), &[], &mirrors).unwrap_err();
    assert_eq!(
        (error.kind(), error.message()),
        (ErrorKind::Definition, "Debian trixie has no package \"sistemd\"")
    );
    assert_eq!(error.hint(), Some("did you mean \"systemd\"?"));
    let error = lock(&plan("trixie", &[]), &["systemd-boot-efl"], &mirrors).unwrap_err();
    assert!(
        error.kind() == ErrorKind::Definition && error.hint().unwrap().contains("systemd-boot-efi"),
        "{error}"
    );
    let error = lock(&plan("trixie", &["systemd-sysv", "sysvinit-core"]), &[], &mirrors).unwrap_err();
    assert!(error.kind() == ErrorKind::Definition && error.message().contains("sysvinit-core"), "{error}");
    let error = lock(&plan("no-such-suite", &[]), &[], &mirrors).unwrap_err();
    assert!(error.kind() == ErrorKind::Fetch && error.hint().unwrap().contains("suite"), "{error}");
}

#[test]
fn dpkgs_database_must_be_the_lock() {
    let Some(mirrors) = ready("dpkgs_database_must_be_the_lock") else { return };
    let locked = lock(&plan("trixie", &[]), &[], &mirrors).unwrap();
    let folder = download(&locked, &mirrors);
    let mut other = locked.clone();
    other.iter_mut().find(|package| package.name == "bash").unwrap().version = "1.0".into();
    let error = built(&other, &folder, |_| Ok(())).unwrap_err();
    assert!(
        error.kind() == ErrorKind::Tool && error.message().contains("< bash 1.0 amd64 installed"),
        "{error}"
    );
    let partial: Vec<_> = locked.iter().filter(|package| package.name != "libpam-runtime").cloned().collect();
    let error = built(&partial, &folder, |_| Ok(())).unwrap_err();
    assert!(error.kind() == ErrorKind::Tool && error.message().contains("libpam-runtime"), "{error}");
}

#[test]
fn a_failing_reader_ends_the_build_and_leaves_nothing() {
    const TEST: &str = "a_failing_reader_ends_the_build_and_leaves_nothing";
    if let Some((locked, job)) = job() {
        let error = built(&locked, &job, |tar| -> Result<(), Error> {
            tar.read_exact(&mut [0; 512]).unwrap();
            Err(Error::new(ErrorKind::Io, "the disk is full"))
        });
        assert_eq!(error.unwrap_err().message(), "the disk is full");
        return;
    }
    let Some(mirrors) = ready(TEST) else { return };
    let scratch = TempDir::new().unwrap();
    let job = small_job(&mirrors, scratch.path());
    let place = TempDir::new_in("/var/tmp").unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o1777)).unwrap();
    again(TEST, &job, &mut Command::new("env"))
        .env("TMPDIR", place.path())
        .run("coreutils")
        .unwrap();
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
}

#[test]
fn a_killed_build_leaves_no_mounts_and_can_be_repeated() {
    const TEST: &str = "a_killed_build_leaves_no_mounts_and_can_be_repeated";
    if let Some((locked, job)) = job() {
        println!("digest={}", digest(&locked, &job));
        return;
    }
    let Some(mirrors) = ready(TEST) else { return };
    let scratch = TempDir::new().unwrap();
    let job = small_job(&mirrors, scratch.path());
    let place = TempDir::new_in("/var/tmp").unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o1777)).unwrap();
    for pause in [700, 1500, 2500] {
        let mut child = again(TEST, &job, &mut Command::new("env"))
            .env("TMPDIR", place.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        thread::sleep(Duration::from_millis(pause));
        child.kill().unwrap();
        child.wait().unwrap();
        kill_all_in(place.path());
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(place.path().to_str().unwrap()), "{mounts}");
    }
    let mut command = Command::new("env");
    command.env("TMPDIR", place.path());
    assert!(elsewhere(TEST, &job, &mut command).starts_with("sha256:"));
    let left = Command::new("find").arg(place.path()).output().unwrap().stdout;
    assert_eq!(
        fs::read_dir(place.path()).unwrap().count(),
        0,
        "not swept: {}",
        String::from_utf8_lossy(&left)
    );
}

/// Kills, as hard as can be, every process of the builds below `place`: they hold an open file there.
fn kill_all_in(place: &Path) {
    let holds = |pid: &String| {
        let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        pid.parse::<u32>().is_ok()
            && files
                .into_iter()
                .any(|file| fs::read_link(file.path()).is_ok_and(|file| file.starts_with(place)))
    };
    for _ in 0..500 {
        let names = fs::read_dir("/proc")
            .unwrap()
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned());
        let found: Vec<String> = names.filter(holds).collect();
        if !found.is_empty() {
            Command::new("kill").arg("-9").args(&found).stderr(Stdio::null()).status().unwrap();
        } else if locks_are_free(place) {
            return;
        }
        thread::sleep(Duration::from_millis(20));
    }
    panic!("processes do not die");
}

/// A process that ends has no files any more while the kernel still takes its root in memory apart, and
/// keeps its lock until that is done.
fn locks_are_free(place: &Path) -> bool {
    let is_free = |folder: fs::DirEntry| {
        File::open(folder.path().join("lock")).map_or(true, |lock| lock.try_lock().is_ok())
    };
    fs::read_dir(place).unwrap().flatten().all(is_free)
}

/// A job with the essential packages alone.
fn small_job(mirrors: &Mirrors, scratch: &Path) -> PathBuf {
    let locked = lock(&plan("trixie", &[]), &[], mirrors).unwrap();
    let folder = download(&locked, mirrors);
    prepare(&locked, &folder, None, scratch)
}

/// What a process that a test has started is to build.
fn job() -> Option<(Vec<LockedPackage>, PathBuf)> {
    let job = std::env::var_os(JOB).map(PathBuf::from)?;
    Some((serde_json::from_slice(&fs::read(job.join("lock.json")).unwrap()).unwrap(), job))
}

/// An entry of the tar as the tests look at it.
#[derive(Debug)]
struct Found {
    kind: tar::EntryType,
    mode: u32,
    owner: (u64, u64),
    content: Vec<u8>,
}

fn read(tar: &Path) -> BTreeMap<String, Found> {
    let mut archive = tar::Archive::new(File::open(tar).unwrap());
    let entry = |entry: io::Result<tar::Entry<'_, File>>| {
        let mut entry = entry.unwrap();
        let path = entry
            .path()
            .unwrap()
            .to_string_lossy()
            .trim_start_matches("./")
            .trim_end_matches('/')
            .to_owned();
        let mut content = Vec::new();
        if entry.size() < 1 << 20 {
            entry.read_to_end(&mut content).unwrap();
        }
        let header = entry.header();
        let owner = (header.uid().unwrap(), header.gid().unwrap());
        (path, Found { kind: header.entry_type(), mode: header.mode().unwrap() & 0o7777, owner, content })
    };
    archive.entries().unwrap().map(entry).collect()
}

fn check_root(suite: &str, root: &BTreeMap<String, Found>) {
    let has = |prefix: &str, suffix: &str| {
        root.keys().any(|path| path.starts_with(prefix) && path.ends_with(suffix))
    };
    assert!(
        has("usr/lib/modules/", "/modules.dep.bin") && has("boot/vmlinuz-", "-cloud-amd64"),
        "{suite}: no kernel"
    );
    assert!(
        has("usr/share/doc/libc6", "/copyright")
            && !has("usr/share/doc/", ".gz")
            && !has("usr/share/man/", ".gz")
    );
    assert!(
        !has("boot/initrd", "")
            && !has("etc/apt/sources", "")
            && !has("var/lib/apt/", "")
            && !has("kiln", "")
    );
    for path in [
        "etc/hostname",
        "etc/.pwd.lock",
        "etc/passwd-",
        "var/log/dpkg.log",
        "var/lib/dpkg/status-old",
        "var/lib/dbus/machine-id",
    ] {
        assert!(!root.contains_key(path), "{suite}: {path}");
    }
    assert!(!root.keys().any(|path| path.starts_with("run/") || path.starts_with("tmp/")));
    assert!(root["etc/machine-id"].content.is_empty() && root["etc/machine-id"].mode == 0o644);
    assert!(root["etc/resolv.conf"].kind.is_symlink() && root["usr/bin/su"].mode == 0o4755);
    assert_eq!(root["var/log/btmp"].owner.0, 0);
    assert_ne!(root["var/log/journal"].owner.1, 0, "{suite}: owners are lost");
    let text = |path: &str| String::from_utf8_lossy(&root[path].content).into_owned();
    assert!(text("var/lib/dpkg/status").contains("Package: kiln-initrd\n"));
    // No user can log in, and the day of the last change is the epoch's, not today's.
    let last_change = EPOCH / 86_400;
    for line in text("etc/shadow").lines() {
        let fields: Vec<&str> = line.split(':').collect();
        assert!(fields[1].starts_with(['!', '*']) && fields[2] == last_change.to_string(), "{suite}: {line}");
    }
    let host = fs::read_to_string("/etc/hostname").unwrap_or_default();
    let leaks = |found: &Found| {
        String::from_utf8_lossy(&found.content).split_whitespace().any(|word| word == host.trim())
    };
    let leak = root
        .iter()
        .find(|(path, found)| path.starts_with("etc/") && host.trim().len() > 3 && leaks(found));
    assert!(leak.is_none(), "{suite}: the host's name is in {leak:?}");
}

/// A user without rights, for the time of a test.
struct User(String);

impl User {
    fn create() -> Self {
        let user = Self(format!("kiln-{}", std::process::id()));
        tool("useradd")
            .args(["--create-home", "--shell", "/bin/sh", &user.0])
            .run("passwd")
            .unwrap();
        if !fs::read_to_string("/etc/subuid").unwrap_or_default().contains(&format!("{}:", user.0)) {
            let range = ["--add-subuids", "500000000-500065535", "--add-subgids", "500000000-500065535"];
            tool("usermod").args(range).arg(&user.0).run("passwd").unwrap();
        }
        user
    }

    fn home(&self) -> PathBuf {
        Path::new("/home").join(&self.0)
    }
}

impl Drop for User {
    fn drop(&mut self) {
        tool("userdel").args(["--remove", &self.0]).run("passwd").ok();
    }
}

/// The command that runs this test once more in a process of its own, at the end of `command`.
fn again<'a>(test: &str, job: &Path, command: &'a mut Command) -> &'a mut Command {
    command
        .arg(job.join("test"))
        .args(["--exact", test, "--nocapture", "--include-ignored"])
        .env(JOB, job)
}

/// Runs this test once more, in the circumstances of `command`, and returns the digest that it prints.
fn elsewhere(test: &str, job: &Path, command: &mut Command) -> String {
    let output = again(test, job, command).run("util-linux").unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text
        .lines()
        .find_map(|line| line.split_once("digest="))
        .unwrap_or_else(|| panic!("{text}"));
    line.1[..71].to_owned()
}

#[test]
fn everybody_builds_the_same_root_of_bookworm() {
    everybody("everybody_builds_the_same_root_of_bookworm", "bookworm");
}

/// Whole images of this release are compared in the same way with each change.
#[test]
#[ignore = "slow: make test-long runs it"]
fn everybody_builds_the_same_root_of_trixie() {
    everybody("everybody_builds_the_same_root_of_trixie", "trixie");
}

fn everybody(test: &str, suite: &str) {
    if let Some((locked, job)) = job() {
        println!("digest={}", digest(&locked, &job));
        return;
    }
    let Some(mirrors) = ready(test) else { return };
    let user = nix::unistd::geteuid().is_root().then(User::create);
    if user.is_none() {
        testkit::not_run(
            &format!("{test}, its half with two users"),
            "only root can start processes of another user",
        );
    }
    let locked = lock(&plan(suite, NODE), &[], &mirrors).unwrap();
    let folder = download(&locked, &mirrors);
    let scratch = TempDir::new().unwrap();
    let tar = scratch.path().join("root.tar");
    let copy = |from: &mut dyn Read| {
        io::copy(from, &mut File::create(&tar).unwrap()).unwrap();
        Ok(())
    };
    built(&locked, &folder, copy).unwrap();
    check_root(suite, &read(&tar));
    let expected = Digest::of_file(&tar).unwrap().to_string();

    let job = prepare(&locked, &folder, user.as_ref(), scratch.path());
    let mut command = match &user {
        Some(user) => {
            let mut command = tool("runuser");
            command.args(["-u", &user.0, "--", "sh", "-c"]);
            command
        }
        None => {
            let mut command = tool("sh");
            command.arg("-c");
            command
        }
    };
    command
        .args(["umask 077; exec \"$@\"", "sh"])
        .env("HOME", &job)
        .env("LC_ALL", "de_DE.UTF-8")
        .env("TZ", "Asia/Tokyo");
    command.env("TMPDIR", "/var/tmp").current_dir(&job);
    assert_eq!(elsewhere(test, &job, &mut command), expected, "{suite}");
}

/// A folder that no other user can enter, with the lock, the packages and this program.
fn prepare(locked: &[LockedPackage], folder: &Path, user: Option<&User>, scratch: &Path) -> PathBuf {
    let job = user.map_or_else(|| scratch.join("job"), User::home);
    fs::create_dir_all(&job).unwrap();
    fs::set_permissions(&job, fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(job.join("lock.json"), serde_json::to_vec(locked).unwrap()).unwrap();
    fs::copy(std::env::current_exe().unwrap(), job.join("test")).unwrap();
    for package in locked {
        let name = package.sha256.hex();
        fs::copy(folder.join(&name), job.join(&name)).unwrap();
    }
    if let Some(user) = user {
        tool("chown").args(["-R", &format!("{}:", user.0)]).arg(&job).run("coreutils").unwrap();
    }
    job
}
