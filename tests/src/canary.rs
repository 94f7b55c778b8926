//! Marked secrets. The canary tests plant them and look for them everywhere else.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use memchr::memmem;
use nix::libc;
use serde_json::json;

use crate::agent::{self, Run};
use crate::control_plane::ControlPlane;
use crate::workspace;

/// The ID of the marked token. It is no secret, because it is part of the user's name.
pub const ID: &str = "canary";
/// Its secret.
pub const SECRET: &str = "c4nar1c4nar2c4na";

/// Folders of the kernel: the agent makes no files in them.
const OF_THE_KERNEL: &[&str] = &["proc", "sys"];
/// The length of a fragment of packed data, in bytes.
const FRAGMENT: usize = 16;
/// The number of fragments.
const FRAGMENTS: usize = 4;
/// The pause between two looks at a run.
const LOOK: Duration = Duration::from_millis(4);
/// Time limit of a run.
const LONGEST: Duration = Duration::from_secs(60);

/// Secrets in all forms in which they can appear.
#[derive(Debug, Clone, Default)]
pub struct Marks(Vec<Vec<u8>>);

/// The result of a watched run.
#[derive(Debug)]
pub struct Watched {
    /// How it ended.
    pub run: Run,
    /// The places where marks appeared while it ran.
    pub seen: Vec<String>,
    /// The number of looks at it before it ended.
    pub looks: usize,
}

impl Marks {
    /// Each secret plain, in upper case, and in base64 at each of its three alignments.
    pub fn of(secrets: &[&str]) -> Self {
        Self(secrets.iter().flat_map(|secret| forms(secret)).collect())
    }

    /// Adds secrets.
    #[must_use]
    pub fn and(mut self, secrets: &[&str]) -> Self {
        self.0.append(&mut Self::of(secrets).0);
        self
    }

    /// Adds packed data, plain and in base64: some fragments of it, without its beginning, which many files
    /// share.
    #[must_use]
    pub fn and_packed(mut self, bytes: &[u8]) -> Self {
        let fragments =
            bytes.chunks_exact(FRAGMENT).skip(1).step_by((bytes.len() / FRAGMENT / FRAGMENTS).max(1));
        self.0.extend(
            fragments.flat_map(|fragment| std::iter::once(fragment.to_vec()).chain(in_base64(fragment))),
        );
        self
    }

    /// Whether one of them is in `bytes`.
    pub fn are_in(&self, bytes: &[u8]) -> bool {
        self.0.iter().any(|form| memmem::find(bytes, form).is_some())
    }

    /// Files below `folder` that hold one, with their modes.
    pub fn places(&self, folder: &Path) -> Vec<(String, u32)> {
        let mut found = Vec::new();
        walk(folder, &mut |path, mode| {
            if fs::read(path).is_ok_and(|bytes| self.are_in(&bytes)) {
                found.push((path.display().to_string(), mode));
            }
        });
        found
    }

    /// Those of them that the group or others can read, write or run.
    pub fn open_places(&self, folder: &Path) -> Vec<String> {
        let mut found = Vec::new();
        walk(folder, &mut |path, mode| {
            if mode & 0o077 != 0 && fs::read(path).is_ok_and(|bytes| self.are_in(&bytes)) {
                found.push(format!("{} ({mode:o})", path.display()));
            }
        });
        found
    }

    /// Runs `command` to its end and inspects it repeatedly from outside: the arguments and environment of it
    /// and its children, and the files of the machine at `root` that others can read.
    pub fn watch(&self, root: &Path, mut command: Command) -> Watched {
        let output = workspace::scratch();
        let file = |name: &str| fs::File::create(output.path().join(name)).expect("the folder is the test's");
        let mut child = command.stdout(file("out")).stderr(file("err")).spawn().expect("the agent starts");
        let started = Instant::now();
        let (mut seen, mut looks) = (Vec::new(), 0);
        let status = loop {
            seen.extend(self.in_process(child.id()));
            seen.extend(self.open_now(root));
            if let Some(status) = child.try_wait().expect("a child can be waited for") {
                break status;
            }
            looks += 1;
            assert!(started.elapsed() < workspace::patience(LONGEST), "the agent does not end");
            std::thread::sleep(LOOK);
        };
        let text = ["out", "err"].map(|name| fs::read(output.path().join(name)).unwrap_or_default()).concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        let run = Run {
            code: status.code(),
            seconds: started.elapsed().as_secs_f64(),
            verdict: agent::verdict(&text),
            output: text,
        };
        Watched { run, seen, looks }
    }

    /// The data that a process and its children show to others.
    fn in_process(&self, pid: u32) -> Vec<String> {
        let read = |file: &str| fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        let files = ["cmdline", "environ"].into_iter().filter(|file| self.are_in(&read(file)));
        let mut seen: Vec<String> = files.map(|file| format!("/proc/PID/{file}")).collect();
        for thread in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
            let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            seen.extend(
                children
                    .split_whitespace()
                    .filter_map(|child| child.parse().ok())
                    .flat_map(|child| self.in_process(child)),
            );
        }
        seen
    }

    fn open_now(&self, root: &Path) -> Vec<String> {
        let entries = fs::read_dir(root).into_iter().flatten().flatten();
        let folders = entries.filter(|entry| OF_THE_KERNEL.iter().all(|name| entry.file_name() != *name));
        folders
            .flat_map(|folder| self.open_places(&folder.path()))
            .map(|place| format!("{place} while it ran"))
            .collect()
    }
}

/// Every file below `folder`, with its mode. Files that vanish meanwhile are left out.
fn walk(folder: &Path, look: &mut dyn FnMut(&Path, u32)) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(about) = fs::symlink_metadata(&path) else { continue };
        if about.is_dir() {
            walk(&path, look);
        } else if about.is_file() {
            look(&path, about.mode() & 0o777);
        }
    }
}

fn forms(secret: &str) -> Vec<Vec<u8>> {
    let plain = [secret.as_bytes().to_vec(), secret.to_uppercase().into_bytes()];
    plain.into_iter().chain(in_base64(secret.as_bytes())).collect()
}

fn in_base64(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    (0..3).map(|shift| {
        let text = STANDARD_NO_PAD.encode([&b"xx"[..shift], bytes].concat());
        // The first and last characters depend on the bytes beside it.
        text.as_bytes()[(shift * 8).div_ceil(6)..text.len() - 2].to_vec()
    })
}

/// Whether, by this kernel's settings, a program that is killed by a fault leaves its core in its folder.
pub fn cores_are_left() -> bool {
    let folder = workspace::scratch();
    let words = ["--core=unlimited", "sh", "-c", "kill -SEGV $$"];
    match Command::new("prlimit").args(words).current_dir(folder.path()).status() {
        Err(error) if error.kind() == ErrorKind::NotFound => false,
        ended => {
            !ended.expect("prlimit starts").success()
                && fs::read_dir(folder.path()).is_ok_and(|entries| entries.count() > 0)
        }
    }
}

/// Ends a program as a fault would; false if it had already ended. (Rust's runtime handles the first SIGSEGV
/// from outside as a possible stack overflow, and continues.)
pub fn crash(mut child: Child) -> bool {
    // One that has ended is not there to be hit.
    let _ = Command::new("kill")
        .args(["-ABRT", &child.id().to_string()])
        .stderr(Stdio::null())
        .status();
    child.wait().expect("a child can be waited for").signal() == Some(libc::SIGABRT)
}

/// Adds the marked token to the cluster, and waits until cluster-info is signed with it.
pub fn admit(control_plane: &ControlPlane) {
    let data = json!({"token-id": ID, "token-secret": SECRET, "usage-bootstrap-signing": "true", "usage-bootstrap-authentication": "true",
        "auth-extra-groups": "system:bootstrappers:kubeadm:default-node-token"});
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "type": "bootstrap.kubernetes.io/token",
        "metadata": {"namespace": "kube-system", "name": format!("bootstrap-token-{ID}")}, "stringData": data});
    control_plane.create("/api/v1/namespaces/kube-system/secrets", &secret);
    let deadline = Instant::now() + Duration::from_secs(30);
    let signed = || {
        let info = control_plane
            .get("/api/v1/namespaces/kube-public/configmaps/cluster-info")
            .expect("cluster-info is there");
        info["data"][format!("jws-kubeconfig-{ID}")].is_string()
    };
    while !signed() {
        assert!(Instant::now() < deadline, "cluster-info is not signed with the canary");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn marks_are_found_in_every_form() {
        let marks = Marks::of(&[SECRET]);
        for text in [format!("a{SECRET}b"), SECRET.to_uppercase()] {
            assert!(marks.are_in(text.as_bytes()), "{text}");
        }
        for front in ["", "a", "ab", "abc"] {
            assert!(
                marks.are_in(STANDARD_NO_PAD.encode(format!("{front}{SECRET} and more")).as_bytes()),
                "{front}"
            );
        }
        assert!(!marks.are_in(b"") && !marks.are_in(&SECRET.as_bytes()[1..]));
        let packed: Vec<u8> = (0..200).map(|number: u8| number.wrapping_mul(73)).collect();
        let marks = Marks::default().and_packed(&packed);
        assert!(
            marks.are_in(&packed[10..190])
                && marks.are_in(STANDARD_NO_PAD.encode(&packed).as_bytes())
                && !marks.are_in(&packed[..20])
        );
    }

    #[test]
    fn a_run_is_watched_from_outside() {
        let root = tempfile::tempdir().unwrap();
        let marks = Marks::of(&[SECRET]);
        let folder = root.path().join("tmp");
        fs::create_dir(&folder).unwrap();
        let script = format!(
            "echo {SECRET}; umask 0; cd {}; printf {SECRET} > open; sleep 0.2; chmod 600 open",
            folder.display()
        );
        let mut command = Command::new("sh");
        command.args(["-c", &script]).env_clear().env("PATH", "/usr/bin:/bin").env("A", SECRET);
        let watched = marks.watch(root.path(), command);
        assert!(
            marks.are_in(watched.run.output.as_bytes()) && watched.run.code == Some(0) && watched.looks > 1
        );
        let file = folder.join("open");
        for what in
            ["/proc/PID/cmdline", "/proc/PID/environ", &format!("{} (666) while it ran", file.display())]
        {
            assert!(watched.seen.iter().any(|seen| seen == what), "{what}: {:?}", watched.seen);
        }
        assert_eq!(marks.places(root.path()), [(file.display().to_string(), 0o600)]);
        assert_eq!(marks.open_places(root.path()), [""; 0]);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(marks.open_places(root.path()).len(), 1);
    }
}
