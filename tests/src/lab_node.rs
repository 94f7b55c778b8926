//! A separate machine beside a control plane, `tests/lab/node`, with its own host name, address, root file
//! system, container runtime, service manager (a stand-in) and kubelet (the real one). Two machines that
//! start alike can be compared after two programs have changed them.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::control_plane::{self, ControlPlane};
use crate::workspace;

/// The folders of a node's programs.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A running machine; ends when dropped.
#[derive(Debug)]
pub struct LabNode {
    process: Child,
    root: PathBuf,
    pid: String,
    address: Ipv4Addr,
    scratch: tempfile::TempDir,
}

/// How a program ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ended {
    /// The exit code; 124 after a timeout.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// Wall time.
    pub seconds: f64,
}

/// A file, folder or link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// `file`, `folder`, `link`, `other`.
    pub kind: String,
    /// Permissions in octal.
    pub mode: String,
    /// `uid:gid`.
    pub owner: String,
    /// The text of a file, the target of a link.
    pub content: String,
}

impl LabNode {
    /// Starts a machine with the host name `name`; the programs in `folders` lie in its PATH before this
    /// machine's.
    pub fn start(control_plane: &ControlPlane, name: &str, folders: &[&Path]) -> Self {
        let scratch = workspace::scratch();
        let words = scratch.path().join("words");
        let mut process = Command::new(workspace::root().join("tests/lab/node"))
            .arg(control_plane.folder())
            .arg(name)
            .args(folders)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&words).expect("the folder is the test's"))
            .spawn()
            .expect("the script starts");
        let facts = facts(process.stdout.take().expect("a pipe was asked for"));
        let said = || fs::read_to_string(&words).unwrap_or_default();
        let fact = |name: &str| facts.get(name).unwrap_or_else(|| panic!("no machine {name}: {}", said()));
        let (pid, address) =
            (fact("pid").clone(), fact("address").parse().expect("the script prints an address"));
        Self { root: format!("/proc/{pid}/root").into(), pid, address, process, scratch }
    }

    /// Its address on the control plane's network.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// A path of the machine that this process can open. Absolute links in it lead to the wrong files.
    pub fn path(&self, inside: &str) -> PathBuf {
        self.root.join(inside.trim_start_matches('/'))
    }

    /// A command inside; not run yet.
    pub fn command<S: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["--target", &self.pid, "--all", "--root", "--wd", "--", "env", "-i", PATH, "HOME=/root"])
            .args(words);
        command.stdin(Stdio::null());
        command
    }

    /// Runs a command inside to its end, or to the end of `patience`.
    pub fn run<S: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = S>, patience: Duration) -> Ended {
        let limit = workspace::patience(patience).as_secs_f64().to_string();
        let words = ["timeout".into(), "--kill-after=2".into(), limit.into()]
            .into_iter()
            .chain(words.into_iter().map(|word| word.as_ref().to_owned()));
        let started = Instant::now();
        let output = self.command(words).output().expect("nsenter starts");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ended {
            code: output.status.code().unwrap_or(-1),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
            seconds: started.elapsed().as_secs_f64(),
        }
    }

    /// Everything below the folder `inside`, itself included, by path inside.
    pub fn tree(&self, inside: &str) -> BTreeMap<String, Entry> {
        let mut found = BTreeMap::new();
        self.walk(Path::new(inside), &mut found);
        found
    }

    fn walk(&self, inside: &Path, found: &mut BTreeMap<String, Entry>) {
        let path = self.path(&inside.to_string_lossy());
        // A process that ends meanwhile counts as absent.
        let Some(entry) = entry(&path) else { return };
        let folder = entry.kind == "folder";
        found.insert(inside.display().to_string(), entry);
        if folder {
            for child in fs::read_dir(&path).into_iter().flatten().flatten() {
                self.walk(&inside.join(child.file_name()), found);
            }
        }
    }

    /// The calls of the service manager.
    pub fn service_calls(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path("/run/stand-ins/calls")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// The log of a service: `kubelet`, `containerd`.
    pub fn service_log(&self, service: &str) -> String {
        fs::read_to_string(self.path(&format!("/run/stand-ins/{service}.log"))).unwrap_or_default()
    }

    /// A folder on this machine for the test's files.
    pub fn scratch(&self) -> &Path {
        self.scratch.path()
    }
}

impl Drop for LabNode {
    fn drop(&mut self) {
        control_plane::end(&mut self.process);
    }
}

/// The first lines of the script, which are its whole output.
fn facts(output: ChildStdout) -> BTreeMap<String, String> {
    let mut facts = BTreeMap::new();
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        if let Some((key, value)) = line.split_once('=') {
            facts.insert(key.to_owned(), value.to_owned());
        }
        if facts.contains_key("address") {
            break;
        }
    }
    facts
}

fn entry(path: &Path) -> Option<Entry> {
    let metadata = fs::symlink_metadata(path).ok()?;
    let kind = metadata.file_type();
    let (kind, content) = match () {
        () if kind.is_symlink() => ("link", fs::read_link(path).ok()?.display().to_string()),
        () if kind.is_dir() => ("folder", String::new()),
        () if kind.is_file() => ("file", String::from_utf8_lossy(&fs::read(path).ok()?).into_owned()),
        () if kind.is_socket() => ("socket", String::new()),
        () => ("other", String::new()),
    };
    Some(Entry {
        kind: kind.to_owned(),
        mode: format!("{:03o}", metadata.mode() & 0o7777),
        owner: format!("{}:{}", metadata.uid(), metadata.gid()),
        content,
    })
}
