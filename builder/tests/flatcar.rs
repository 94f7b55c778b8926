//! Images on Flatcar: the disk of the release stays as it is. Releases look like Flatcar's and are signed by
//! a key of the test.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Instant;

use bzip2::write::BzEncoder;
use kiln::process::{Run, tool};
use testkit::lookalike_flatcar::{Flatcar, Sizes, missing};

const VERSION: &str = "4593.2.5";
const OLDER: &str = "4593.2.4";
const DISK: &str = "flatcar_production_image.bin.bz2";
const KERNEL: &str = "flatcar_production_pxe.vmlinuz";
const INITRD: &str = "flatcar_production_pxe_image.cpio.gz";

/// A checkout with one image, and a server's folder with one release.
struct Place {
    folder: tempfile::TempDir,
    /// The vendor's disk.
    disk: PathBuf,
}

impl Place {
    /// `None`, said aloud, where a program is missing.
    fn new(test: &str) -> Option<Self> {
        let programs = ["gpg", "gpgv", "btrfs", "unsquashfs", "mksquashfs", "cpio", "qemu-img"];
        let lacks = |program: &&str| tool(program).arg("--version").output().is_err();
        if let Some(program) =
            programs.iter().find(|program| lacks(program)).copied().or(missing().map(|one| one.0))
        {
            testkit::not_run(test, &format!("no {program}"));
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in ["images", "layers/tool", "gpg", "usr/lib", "parts"] {
            fs::create_dir_all(path(name)).unwrap();
        }
        let image = "schema = 1\nname = 'x'\narch = 'amd64'\nkubernetes = '1.36.4'\nruntime = 'tool'\n\
             layers = ['flatcar', 'tool']\noutputs = ['raw', 'qcow2', 'pxe']\n\
             [base]\ndistribution = 'flatcar'\nchannel = 'stable'\n";
        fs::write(path("images/x.toml"), image).unwrap();
        let layer = "schema = 1\nsummary = 'x'\nprovides = ['container-runtime']\n\
             [[file]]\npath = '/usr/bin/tool'\nmode = '0755'\ncontent = 'x'\n[[file]]\npath = '/etc/tool.conf'\ncontent = 'y'\n";
        fs::write(path("layers/tool/layer.toml"), layer).unwrap();
        let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../layers/flatcar");
        tool("cp").arg("-r").arg(own).arg(path("layers")).run("").unwrap();

        let release =
            format!("NAME=x\nID=flatcar\nVERSION_ID={VERSION}\nSYSEXT_LEVEL=1.0\nFLATCAR_BOARD=amd64-usr\n");
        fs::write(path("usr/lib/os-release"), release).unwrap();
        fs::write(path("kernel"), [1; 4096]).unwrap();
        let like = Flatcar {
            sizes: Sizes::SMALL,
            usr: &path("usr"),
            usr_blocks: 6144,
            kernel: &path("kernel"),
            initrd: None,
            arguments: None,
        };
        let disk = like.disk(&path("parts"), "disk.bin").path;
        let place = Self { disk, folder };
        place.gpg(&[
            "--quick-gen-key",
            "--passphrase",
            "",
            "test@flatcar.invalid",
            "ed25519",
            "sign",
            "never",
        ]);
        let key = place.gpg(&["--armor", "--export"]).stdout;
        fs::write(place.path("key.asc"), key).unwrap();
        place.publish();
        Some(place)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn gpg(&self, arguments: &[&str]) -> Output {
        let mut command = tool("gpg");
        command.args(["--batch", "--quiet", "--yes", "--homedir"]).arg(self.path("gpg"));
        command.args(arguments).run("gpg").unwrap()
    }

    /// Writes the release: the disk, and the pair for the network.
    fn publish(&self) {
        let board = self.path("mirror/stable/amd64-usr");
        let folder = board.join(VERSION);
        fs::create_dir_all(&folder).unwrap();
        fs::create_dir_all(board.join("current")).unwrap();
        fs::write(
            board.join("current/version.txt"),
            format!("FLATCAR_BUILD=4593\nFLATCAR_VERSION={VERSION}\n"),
        )
        .unwrap();
        let mut bz2 = BzEncoder::new(
            BufWriter::new(File::create(folder.join(DISK)).unwrap()),
            bzip2::Compression::fast(),
        );
        std::io::copy(&mut File::open(&self.disk).unwrap(), &mut bz2).unwrap();
        bz2.finish().unwrap().flush().unwrap();
        fs::write(folder.join(KERNEL), [2; 5000]).unwrap();
        let script = "mksquashfs usr parts/usr.squashfs -quiet -no-progress && mkdir -p parts/etc && cd parts && \
                      printf 'etc\\nusr.squashfs\\n' | cpio --quiet -o -H newc | gzip -1 > \"$0\"";
        tool("sh")
            .args(["-c", script])
            .arg(folder.join(INITRD))
            .current_dir(self.folder.path())
            .run("")
            .unwrap();
        for name in [DISK, KERNEL, INITRD] {
            self.sign(VERSION, name);
        }
    }

    /// The signed list of digests beside a file.
    fn sign(&self, version: &str, name: &str) {
        let folder = self.path("mirror/stable/amd64-usr").join(version);
        let list = folder.join(format!("{name}.DIGESTS"));
        let script = "for hash in md5 sha1 sha512; do echo \"# ${hash^^} HASH\"; ${hash}sum \"$0\"; done";
        let digests = tool("bash").args(["-c", script, name]).current_dir(&folder).run("").unwrap().stdout;
        fs::write(&list, digests).unwrap();
        let signed = folder.join(format!("{name}.DIGESTS.asc"));
        self.gpg(&["--output", signed.to_str().unwrap(), "--clearsign", list.to_str().unwrap()]);
    }

    fn kiln(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kiln"));
        command.args(arguments).args(["--flatcar-key", "key.asc"]);
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        command
            .env("KILN_CACHE", self.path("store"))
            .env("KILN_FLATCAR_MIRROR", self.path("mirror"));
        command
    }

    fn succeed(&self, arguments: &[&str]) {
        let output = self.kiln(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// What `kiln lock` with these words says as it refuses, and its exit code.
    fn refused(&self, words: &[&str]) -> (Option<i32>, String) {
        let output = self.kiln(&[&["lock", "images/x.toml", "--lock", "refused.lock"], words].concat());
        assert!(!self.path("refused.lock").exists());
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

impl Place {
    /// Ignition itself reads the configuration in this archive.
    fn assert_ignition_accepts(&self, archive: &[u8]) {
        if tool("ignition-validate").arg("--version").output().is_err() {
            return testkit::not_run("Ignition reads what is for it", "no ignition-validate");
        }
        fs::write(self.path("archive"), archive).unwrap();
        let script = "mkdir unpacked && cd unpacked && cpio --quiet -id < ../archive && \
                      ignition-validate usr/share/oem/base/base.ign";
        let output = tool("sh").args(["-c", script]).current_dir(self.folder.path()).run("").unwrap();
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        let config = fs::read_to_string(self.path("unpacked/usr/share/oem/base/base.ign")).unwrap();
        for part in ["/etc/extensions/tool.raw", "/opt/extensions/tool/tool-1.36.4-x86-64.raw", "SERVER"] {
            // Small files are in it, in base64.
            let encoded = part == "SERVER";
            assert!(config.contains(if encoded { "U0VSVkVS" } else { part }), "{config}");
        }
        self.assert_ignition_writes();
    }

    /// Ignition itself writes what is for it into a root.
    fn assert_ignition_writes(&self) {
        let Some(engine) = IGNITION.iter().find(|path| Path::new(path).exists()) else {
            return testkit::not_run("Ignition writes what is for it", "no package ignition");
        };
        // It asks the root for users, and has setfiles set labels: without SELinux, nothing to do.
        let script = "mkdir -p root/etc/selinux system path && cp /etc/passwd /etc/group root/etc && \
                      printf 'SELINUX=permissive\\nSELINUXTYPE=x\\n' >root/etc/selinux/config && \
                      ln -s /bin/true path/setfiles && cp unpacked/usr/share/oem/base/base.ign system/user.ign && \
                      for stage in fetch files; do \
                      PATH=$PWD/path:$PATH IGNITION_SYSTEM_CONFIG_DIR=$PWD/system \"$0\" -log-to-stdout -platform metal \
                      -root $PWD/root -stage $stage -config-cache $PWD/cache -state-file $PWD/state -neednet $PWD/net || exit; done";
        tool("sh")
            .args(["-c", script, engine])
            .current_dir(self.folder.path())
            .run("ignition")
            .unwrap();
        let target = |path: &str| fs::read_link(self.path("root").join(path)).unwrap();
        assert_eq!(
            target("etc/extensions/tool.raw"),
            Path::new("/opt/extensions/tool/tool-1.36.4-x86-64.raw")
        );
        assert_eq!(target("etc/systemd/system/update-engine.service"), Path::new("/dev/null"));
        let update = fs::read_to_string(self.path("root/etc/flatcar/update.conf")).unwrap();
        assert!(update.contains("SERVER=disabled"), "{update}");
    }
}

/// Where the package `ignition` has its engine.
const IGNITION: [&str; 2] = ["/usr/lib/dracut/modules.d/30ignition/ignition", "/usr/libexec/ignition"];

impl Drop for Place {
    /// Ends the agent that gpg has started for this folder.
    fn drop(&mut self) {
        tool("gpgconf")
            .arg("--homedir")
            .arg(self.path("gpg"))
            .args(["--kill", "all"])
            .run("gpg")
            .ok();
    }
}

#[test]
fn the_newest_release_is_locked_and_built_without_a_change_to_it() {
    let Some(place) = Place::new("an image on Flatcar") else { return };
    place.succeed(&["lock", "images/x.toml"]);
    let lock = fs::read_to_string(place.path("images/x.lock")).unwrap();
    assert!(lock.contains(&format!("version = \"{VERSION}\"")), "{lock}");
    for out in ["one", "two"] {
        place.succeed(&["build", "images/x.toml", "--locked", "--output-dir", out]);
    }
    let read = |name: &str| fs::read(place.path(name)).unwrap();
    for name in ["x.raw", "x.qcow2", "x-pxe/initrd", "x-pxe/vmlinuz", "x-pxe/boot.ipxe"] {
        assert!(read(&format!("one/{name}")) == read(&format!("two/{name}")), "{name} differs");
    }
    // Every block that changed is in the root partition.
    let (vendor, built) = (fs::read(&place.disk).unwrap(), read("one/x.raw"));
    assert_eq!(vendor.len(), built.len());
    let (at, length) = testkit::lookalike_flatcar::place(&Sizes::SMALL, "ROOT");
    let same = |range: std::ops::Range<usize>| vendor[range.clone()] == built[range];
    assert!(same(0..at as usize) && same((at + length) as usize..vendor.len()));
    let root = format!("{}?offset={at}", place.path("one/x.raw").display());
    let said = |request: &str| {
        let output = tool("debugfs").args(["-R", request, &root]).run("").unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    for (path, target) in [
        ("/etc/extensions/tool.raw", "/opt/extensions/tool/tool-1.36.4-x86-64.raw"),
        ("/etc/extensions/containerd-flatcar.raw", "/dev/null"),
        ("/etc/systemd/system/update-engine.service", "/dev/null"),
    ] {
        assert!(said(&format!("stat {path}")).contains(target), "{path}");
    }
    // The set for the network begins with the vendor's files.
    let vendors = |name: &str| read(&format!("mirror/stable/amd64-usr/{VERSION}/{name}"));
    assert!(read("one/x-pxe/vmlinuz") == vendors(KERNEL));
    let initrd = read("one/x-pxe/initrd");
    assert!(initrd.starts_with(&vendors(INITRD)));
    let script = String::from_utf8(read("one/x-pxe/boot.ipxe")).unwrap();
    assert!(script.contains("initrd=initrd flatcar.first_boot=1"), "{script}");
    let list = Command::new("cpio")
        .args(["-it", "--quiet"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let mut list = list.unwrap();
    let appended = vendors(INITRD).len().next_multiple_of(512);
    list.stdin.take().unwrap().write_all(&initrd[appended..]).unwrap();
    let names = String::from_utf8(list.wait_with_output().unwrap().stdout).unwrap();
    for name in ["usr/share/oem/base/base.ign", "usr/share/oem"] {
        assert!(names.lines().any(|line| line == name), "{names}");
    }
    place.assert_ignition_accepts(&initrd[appended..]);
}

/// The files of the folder `folder` by their paths in it; none where there is no folder.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for path in fs::read_dir(&next).into_iter().flatten().flatten().map(|entry| entry.path()) {
            if path.is_dir() {
                folders.push(path);
            } else {
                files.insert(path.strip_prefix(folder).unwrap().to_owned(), fs::read(&path).unwrap());
            }
        }
    }
    files
}

#[test]
fn a_build_that_is_killed_leaves_the_release_as_it_is_and_nothing_half_done() {
    let Some(place) = Place::new("a killed build on Flatcar") else { return };
    place.succeed(&["lock", "images/x.toml"]);
    let started = Instant::now();
    place.succeed(&["build", "images/x.toml", "--locked", "--output-dir", "whole"]);
    let (whole, lasts) = (files(&place.path("whole")), started.elapsed());
    let release = files(&place.path("mirror"));
    const MOMENTS: u32 = 12;
    let mut hits = 0;
    for moment in 1..=MOMENTS {
        // Nothing of the last try is used again.
        fs::remove_dir_all(place.path("store/built")).ok();
        let words = ["build", "images/x.toml", "--locked", "--output-dir", "out"];
        let mut child = place.command(&words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(lasts * moment / MOMENTS);
        hits += u32::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
        for (path, bytes) in files(&place.path("out")) {
            let hidden = path.iter().any(|part| part.to_string_lossy().starts_with('.'));
            assert!(hidden || whole[&path] == bytes, "{} is half done", path.display());
        }
        assert!(files(&place.path("mirror")) == release, "the release was changed");
    }
    assert!(hits >= MOMENTS / 2, "only {hits} builds were killed while they ran");
    place.succeed(&["build", "images/x.toml", "--locked", "--output-dir", "out"]);
    assert!(files(&place.path("out")) == whole, "what a killed build left is in the next one, or stays");
}

#[test]
fn releases_that_are_not_what_was_asked_for_are_refused() {
    let Some(place) = Place::new("refused releases") else { return };
    let board = place.path("mirror/stable/amd64-usr");
    let disk = "outputs=['raw']";

    // The older release, whose signature is good, under the address of another one.
    tool("cp").arg("-r").args([board.join(VERSION), board.join(OLDER)]).run("").unwrap();
    for outputs in [disk, "outputs=['pxe']"] {
        let (code, said) = place.refused(&["--set", outputs, "--set", &format!("base.version={OLDER:?}")]);
        let expected = format!("this is flatcar {VERSION} for amd64-usr, not flatcar {OLDER}");
        assert!(code == Some(6) && said.contains(&expected), "{said}");
    }

    // Files whose signature is good, and which are damaged.
    let good = fs::read(board.join(VERSION).join(DISK)).unwrap();
    for (bytes, says) in
        [(&good[..good.len() / 2], "unpacked"), (&good[..0], "no release of Flatcar"), (b"BZh9", "unpacked")]
    {
        fs::write(board.join(VERSION).join(DISK), bytes).unwrap();
        place.sign(VERSION, DISK);
        let (code, said) = place.refused(&["--set", disk]);
        assert!(code == Some(7) && said.contains(says), "{says}: {said}");
    }
    // Not the file that was signed.
    fs::write(board.join(VERSION).join(DISK), "other").unwrap();
    let (code, said) = place.refused(&["--set", disk]);
    assert!(code == Some(6), "{said}");

    // Signed by nobody, by another, and for another file.
    let list = board.join(VERSION).join(format!("{DISK}.DIGESTS.asc"));
    let signed = fs::read_to_string(&list).unwrap();
    let changed = signed.replacen('a', "b", 1);
    let digests = fs::read_to_string(board.join(VERSION).join(format!("{DISK}.DIGESTS"))).unwrap();
    let kernels = fs::read_to_string(board.join(VERSION).join(format!("{KERNEL}.DIGESTS.asc"))).unwrap();
    for (text, says) in [
        (changed, "the signature does not count"),
        (digests, "no clear-signed document"),
        (kernels, "does not mention"),
    ] {
        fs::write(&list, text).unwrap();
        let (code, said) = place.refused(&["--set", disk]);
        assert!(code == Some(6) && said.contains(says), "{says}: {said}");
    }

    fs::write(board.join("current/version.txt"), "<html>").unwrap();
    let (code, said) = place.refused(&["--set", disk]);
    assert!(code == Some(6) && said.contains("names no release"), "{said}");
}
