//! A definition on a small root file system, in a folder of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use kiln::process::{Run, tool};
use tempfile::TempDir;

pub struct Place(TempDir);

impl Place {
    /// `None`, said aloud, where a program is missing.
    pub fn new(test: &str, programs: &[&str]) -> Option<Self> {
        let lacks = |program: &&&str| tool("which").arg(program).run("").is_err();
        if let Some(program) = programs.iter().find(lacks) {
            testkit::not_run(test, &format!("no {program}"));
            return None;
        }
        let place = Self(TempDir::new().unwrap());
        fs::create_dir(place.path("runtime")).unwrap();
        let layer = "schema = 1\nsummary = 'x'\nprovides = ['container-runtime']\n\
                     [[file]]\npath = '/usr/bin/tool'\nmode = '0755'\ncontent = 'x'\n";
        fs::write(place.path("runtime/layer.toml"), layer).unwrap();
        Some(place)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The definition, with these lines in `[base]`.
    pub fn define(&self, base: &str) {
        let text = format!(
            "schema = 1\nname = 'x'\narch = 'amd64'\nkubernetes = '1.36.4'\nruntime = 'runtime'\n\
             layers = ['./runtime']\noutputs = ['oci']\n[base]\n{base}\n"
        );
        fs::write(self.path("x.toml"), text).unwrap();
    }

    /// Runs `kiln` with the words of `command` and further ones.
    pub fn kiln(&self, command: &str, further: &[&str]) -> Output {
        let mut kiln = Command::new(env!("CARGO_BIN_EXE_kiln"));
        kiln.args(command.split(' '))
            .args(further)
            .current_dir(self.0.path())
            .stdin(Stdio::null());
        kiln.env("KILN_CACHE", self.path("store")).output().unwrap()
    }

    pub fn succeed(&self, command: &str, further: &[&str]) {
        let output = self.kiln(command, further);
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Refuses with this exit code, and says this.
    #[track_caller]
    pub fn refuse(&self, command: &str, further: &[&str], code: i32, says: &str) {
        let output = self.kiln(command, further);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(code) && said.contains(says), "{command}: {says}: {said}");
        assert!(!self.path("out/x-oci").exists());
    }

    /// Locks and builds from an empty store, and gives the digests of what was built, but for the manifest,
    /// which has the definition in it.
    pub fn build(&self, further: &[&str]) -> String {
        self.forget();
        self.succeed("lock x.toml", further);
        self.succeed("build x.toml --locked --output-dir out", further);
        let sums = fs::read_to_string(self.path("out/SHA256SUMS")).unwrap();
        self.forget();
        sums.lines()
            .filter(|line| !line.ends_with(" manifest.json"))
            .collect::<Vec<_>>()
            .join("\n")
    }

    /// Removes store, lock and outputs.
    pub fn forget(&self) {
        for name in ["store", "out"] {
            if self.path(name).exists() {
                fs::remove_dir_all(self.path(name)).unwrap();
            }
        }
        fs::remove_file(self.path("x.lock")).ok();
    }

    /// Writes a tar of the least that a root needs, of the release `version`.
    pub fn write_root(&self, tar: &Path, version: &str) {
        let root = self.path("root");
        fs::create_dir_all(root.join("usr/lib/systemd")).unwrap();
        fs::write(root.join("usr/lib/os-release"), format!("ID=demo\nVERSION_ID={version}\n")).unwrap();
        let program = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\x3e\0rest";
        fs::write(root.join("usr/lib/systemd/systemd"), program).unwrap();
        for name in ["bin", "lib", "sbin"] {
            std::os::unix::fs::symlink(format!("usr/{name}"), root.join(name)).ok();
        }
        fs::create_dir_all(tar.parent().unwrap()).unwrap();
        tool("tar")
            .args(["--sort=name", "--mtime=@0", "--owner=0", "--group=0", "-cf"])
            .arg(tar)
            .arg("-C")
            .arg(&root)
            .arg(".")
            .run("tar")
            .unwrap();
    }
}
