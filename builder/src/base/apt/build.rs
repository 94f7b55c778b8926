//! Builds the root from locked packages, offline, through mmdebstrap.
//!
//! mmdebstrap makes the namespaces, the mounts and the tar. Two hooks, `setup.sh` and `install.sh`, do the
//! rest. They are faster than mmdebstrap's own steps (one run of dpkg instead of two, no apt, no copies) and
//! install exactly the locked packages. The packages reach the root through a pipe, so that no path needs to
//! be readable in the namespace.

use std::collections::BTreeSet;
use std::io::{BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;

use nix::unistd::{User, geteuid};

use super::diagnosis::{self, Host};
use super::package::{self, bootstrap};
use super::workspace::{self, Workspace};
use super::{Distribution, dummy_package, text};
use crate::base::LockedPackage;
use crate::base::stanza::Stanza;
use crate::definition::plan::{Arch, PackagesPlan};
use crate::error::{Error, ErrorKind, Result};
use crate::process::{self, Run, tool};
use crate::progress::Progress;
use crate::threads;

/// The hooks themselves are short, because mmdebstrap repeats them in its messages. Standard input is the tar
/// of [`feed`]. In a user namespace, where KILN_TMPFS is set, the root is mounted over itself: the working
/// folder still is the one below.
const HOOKS: [&str; 2] = [
    r#"--setup-hook=cd "$1" && if [ "$KILN_TMPFS" ]; then mount -t tmpfs -o "$KILN_TMPFS" tmpfs "$1" && cp -a . "$1"; fi &&
    tar -C "$1" -x -f - && sh "$1/kiln/setup" "$1""#,
    r#"--customize-hook=sh "$1/kiln/install" "$1""#,
];
/// As root, mmdebstrap mounts in the host's namespace, and the mounts stay when it is killed. Here they get a
/// private one.
const AS_ROOT: [&str; 6] = ["--mount", "--propagation", "private", "--", "sh", "-c"];
/// The script in that namespace; its arguments are mmdebstrap and mmdebstrap's arguments.
const AS_ROOT_SCRIPT: &str = r#"if [ "$0" ]; then mount -t tmpfs -o "$0" tmpfs "$TMPDIR"; fi && exec "$@""#;
pub(super) const SETUP: &str = include_str!("setup.sh");
pub(super) const INSTALL: &str = include_str!("install.sh");

/// Documentation and translations: no use on a node, and a third of all files.
const EXCLUDED: &[&str] = &[
    "/usr/share/bash-completion/*",
    "/usr/share/bug/*",
    "/usr/share/doc/*",
    "/usr/share/doc-base/*",
    "/usr/share/info/*",
    "/usr/share/initramfs-tools/*",
    "/usr/share/lintian/*",
    "/usr/share/locale/*",
    "/usr/share/man/*",
    "/usr/share/zsh/*",
];

/// Licences oblige everyone who passes a package on to keep these.
const INCLUDED: &[&str] = &["/usr/share/doc/*/copyright"];

/// A root takes about this many times the bytes of its packages while it is put together, the packages
/// themselves included, without compression.
const GROWTH: u64 = 9;

/// The order for a build.
pub struct Build<'a> {
    /// Of which distribution.
    pub distribution: &'a Distribution,
    /// The suite.
    pub base: &'a PackagesPlan,
    /// For which architecture.
    pub arch: Arch,
    /// The lock. Packages that are not to be installed are passed over.
    pub packages: &'a [LockedPackage],
    /// Where the verified bytes of a package are.
    pub blob: &'a (dyn Fn(&LockedPackage) -> Result<PathBuf> + Sync),
    /// The time of all files, seconds since 1970.
    pub epoch: u64,
    /// A private folder for intermediate files.
    pub scratch: &'a Path,
    /// Called when all packages are decompressed and sent: from then on one processor is busy.
    pub sent: &'a (dyn Fn() + Sync),
}

/// Builds the root and gives its tar to `sink` while it is written (pax, sorted, numeric owners, extended
/// attributes). It starts with mmdebstrap's device nodes, the same in every mode; [`crate::layer`] leaves
/// them out. The result of `sink` counts only when the build succeeds.
///
/// Bit-identical for the same lock and epoch, for any user, place and time.
///
/// # Errors
/// [`ErrorKind::Tool`] when mmdebstrap is missing, fails, or this user may not make namespaces, or when
/// programs for the architecture do not run here;
/// [`ErrorKind::Io`] when there is no room; whatever `sink` returns.
pub fn build<T>(
    build: &Build<'_>,
    progress: &Progress,
    sink: impl FnOnce(&mut dyn Read) -> Result<T>,
) -> Result<T> {
    check_user()?;
    diagnosis::check_emulation(build.arch, tool("arch-test").arg(build.arch.name()))?;
    let packages: Vec<&LockedPackage> = build.packages.iter().filter(|package| package.install).collect();
    let controls = packages
        .iter()
        .map(|package| package::control(&(build.blob)(package)?))
        .collect::<Result<Vec<_>>>()?;
    let workspace = workspace::create(packages.iter().map(|package| package.size).sum::<u64>() * GROWTH)?;
    let _step = progress.step(&format!(
        "installing {} packages of {} {}",
        packages.len(),
        build.distribution.title,
        build.base.suite
    ));
    let mut command = mmdebstrap(build, &workspace)?;
    let mut child = workspace.lend(|| command.start("mmdebstrap"))?;
    let pipes = child.stdin.take().zip(child.stdout.take()).zip(child.stderr.take());
    let ((stdin, stdout), stderr) =
        pipes.ok_or_else(|| Error::new(ErrorKind::Internal, "mmdebstrap was started without pipes"))?;
    thread::scope(|scope| {
        let feeder = scope.spawn(|| feed(stdin, build, &packages, &controls));
        let listener = scope.spawn(|| process::tail(stderr));
        let drained = drain(stdout, sink);
        let said = listener.join().unwrap_or_default();
        let fed = feeder.join().unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::Internal, "the thread that sends packages stopped"))
        });
        conclude(&mut child, drained, fed, &said, workspace.path())
    })
}

fn check_user() -> Result<()> {
    let uid = geteuid();
    let user = User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name);
    diagnosis::check_namespaces(&Host { uid: uid.as_raw(), user: &user, root: Path::new("/") })
}

fn mmdebstrap(build: &Build<'_>, workspace: &Workspace) -> Result<Command> {
    let mut command = if geteuid().is_root() {
        // unshare would not give the hint when it is missing.
        process::require("mmdebstrap", "mmdebstrap")?;
        let mut unshare = tool("unshare");
        unshare
            .args(AS_ROOT)
            .arg(AS_ROOT_SCRIPT)
            .arg(workspace.tmpfs("1777").unwrap_or_default())
            .arg("mmdebstrap");
        unshare.env_clear().env("KILN_TMPFS", "");
        unshare
    } else {
        let mut direct = tool("mmdebstrap");
        direct.env_clear().env("KILN_TMPFS", workspace.tmpfs("755").unwrap_or_default());
        direct
    };
    // Nothing of the user's environment may reach the maintainer scripts; a plain user's PATH has no chroot
    // in it.
    let path = std::env::var("PATH").unwrap_or_default();
    command
        .env("PATH", format!("{path}:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin"))
        .env("HOME", "/");
    command.env("LC_ALL", "C.UTF-8").env("TZ", "UTC").env("TMPDIR", text(workspace.path())?);
    command.env("SOURCE_DATE_EPOCH", build.epoch.to_string()).current_dir("/");
    command.args(["--variant=custom", "--mode=auto", "--format=tar", "--skip=update,download,cleanup"]);
    command.arg(format!("--architectures={}", build.arch.name()));
    // No suite, hence no sources: there is nothing to fetch.
    command.args(HOOKS).args(["", "-"]);
    // When it fails it sends a signal to its whole process group.
    command.process_group(0);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Ok(command)
}

/// Sends the folder `kiln/`: lists first, then the packages.
fn feed(
    stdin: ChildStdin,
    build: &Build<'_>,
    packages: &[&LockedPackage],
    controls: &[Stanza],
) -> Result<()> {
    let mut tar = tar::Builder::new(stdin);
    for (name, content) in lists(build.arch, packages, controls) {
        add(&mut tar, name, content.len() as u64, content.as_bytes())?;
    }
    let made = dummy_package::package()?;
    add(&mut tar, &format!("{}.deb", dummy_package::NAME), made.len() as u64, made.as_slice())?;
    threads::in_order(
        packages,
        |package| package::Plain::of(&(build.blob)(package)?, &package.name, build.scratch),
        |package, plain| add(&mut tar, &format!("{}.deb", package.name), plain.size(), plain.reader()?),
    )?;
    tar.into_inner().and_then(|mut stdin| stdin.flush()).map_err(|error| pipe(&error))?;
    (build.sent)();
    Ok(())
}

fn add(tar: &mut tar::Builder<ChildStdin>, name: &str, size: u64, body: impl Read) -> Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(size);
    tar.append_data(&mut header, format!("kiln/{name}"), body).map_err(|error| pipe(&error))
}

fn pipe(error: &std::io::Error) -> Error {
    Error::new(ErrorKind::Io, format!("sending the packages to mmdebstrap: {error}"))
}

/// The files that the hooks read, by name.
fn lists(arch: Arch, packages: &[&LockedPackage], controls: &[Stanza]) -> [(&'static str, String); 9] {
    let lines =
        |names: &mut dyn Iterator<Item = &str>| names.map(|name| format!("{name}\n")).collect::<String>();
    // base-passwd makes /etc/passwd, which every package with files of other owners needs.
    let mut order: Vec<&str> = packages
        .iter()
        .map(|package| package.name.as_str())
        .chain([dummy_package::NAME])
        .collect();
    order.sort_by_key(|name| (*name != "base-passwd", *name != "base-files", *name));
    let installed = |name: &str, version: &str, arch: &str| format!("{name} {version} {arch} installed\n");
    let mut expected: BTreeSet<String> = packages
        .iter()
        .map(|package| installed(&package.name, &package.version, &package.architecture))
        .collect();
    expected.insert(installed(dummy_package::NAME, dummy_package::VERSION, dummy_package::ARCHITECTURE));
    let merged = match arch {
        Arch::Amd64 => "bin lib lib64 sbin",
        Arch::Arm64 => "bin lib sbin",
    };
    [
        ("settings", format!("merged='{merged}'\n")),
        ("setup", SETUP.to_owned()),
        ("install", INSTALL.to_owned()),
        ("packages", lines(&mut order.into_iter())),
        ("bootstrap", lines(&mut bootstrap(controls).iter().map(String::as_str))),
        ("expected", expected.into_iter().collect()),
        ("excluded", lines(&mut EXCLUDED.iter().copied())),
        ("excluded-here", EXCLUDED.iter().map(|pattern| format!(".{pattern}\n")).collect()),
        ("included", lines(&mut INCLUDED.iter().copied())),
    ]
}

/// Lets the sink read the tar; closes the pipe in any case, so that mmdebstrap ends when the sink does.
fn drain<T>(stdout: ChildStdout, sink: impl FnOnce(&mut dyn Read) -> Result<T>) -> Result<T> {
    let mut reader = BufReader::with_capacity(1 << 20, stdout);
    let result = sink(&mut reader)?;
    // A reader of tar may stop before the padding at the end.
    std::io::copy(&mut reader, &mut std::io::sink())
        .map_err(|error| Error::new(ErrorKind::Io, format!("reading from mmdebstrap: {error}")))?;
    Ok(result)
}

/// Finds the cause among the failures: mmdebstrap dies of a broken pipe when the sink has failed, and the
/// sink finds a short tar or the feeder a broken pipe when mmdebstrap has.
fn conclude<T>(
    child: &mut Child,
    drained: Result<T>,
    fed: Result<()>,
    said: &str,
    workspace: &Path,
) -> Result<T> {
    let status = child
        .wait()
        .map_err(|error| Error::new(ErrorKind::Tool, format!("waiting for mmdebstrap: {error}")))?;
    match drained {
        Err(error) if error.kind() == ErrorKind::Io => Err(error),
        _ if !status.success() => match fed {
            Err(error) if !error.message().contains("Broken pipe") => Err(error),
            _ => Err(diagnosis::build(status, said, workspace)),
        },
        Err(error) => Err(error),
        Ok(result) => fed.map(|()| result),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

    fn package(name: &str, install: bool) -> LockedPackage {
        LockedPackage {
            name: name.into(),
            version: "1".into(),
            architecture: "amd64".into(),
            source: name.into(),
            source_version: None,
            snapshot: None,
            archive: "debian".into(),
            path: format!("pool/{name}.deb"),
            size: 1,
            sha256: Digest::of(name.as_bytes()),
            install,
        }
    }

    #[test]
    fn base_passwd_comes_first_and_the_dummy_package_is_expected() {
        let packages = ["apt", "base-files", "base-passwd", "zlib1g"].map(|name| package(name, true));
        let controls = [Stanza::parse("Package: base-files\nEssential: yes\n")];
        let lists = lists(Arch::Amd64, &packages.iter().collect::<Vec<_>>(), &controls);
        let get = |name: &str| lists.iter().find(|list| list.0 == name).unwrap().1.as_str();
        assert_eq!(get("packages"), "base-passwd\nbase-files\napt\nkiln-initrd\nzlib1g\n");
        assert_eq!(get("bootstrap"), "base-files\n");
        assert!(get("expected").contains("kiln-initrd 1 all installed\n"));
        assert!(get("settings").contains("lib64"));
    }

    #[test]
    fn the_hooks_are_scripts_for_the_shell() {
        for script in [SETUP, INSTALL] {
            assert!(tool("sh").args(["-n", "-c", script]).run("dash").is_ok());
        }
    }
}
