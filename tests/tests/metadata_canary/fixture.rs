//! A machine with its user data at a platform or location.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kiln_simulator::{Simulation, platform};
use kiln_tests::join_support::disc;
use kiln_tests::loop_device::{LoopDevice, can_mount};
use kiln_tests::simulated::Machine;
use kiln_tests::workspace;
use testkit::{TestServer, documents};

use super::formats::{Made, PASSWORD, PLAIN, SECURE, certificates, sha256};
use super::sources::{EQUINIX, Files, Source, Way};

/// The files of every machine, besides its evidence.
const FILES: &[(&str, &str)] = &[
    ("usr/lib/kiln/image.json", "{\"variables\": {\"kubernetes\": \"1.36.2\"}}"),
    ("proc/sys/kernel/hostname", "n1\n"),
    ("etc/hostname", "n1\n"),
];
/// The value of the machine's tag, where the platform has tags.
pub const TAG: &str = "t4g-of-c4nary";
/// Large enough for every disk.
const DISK: &str = "1M";

/// A machine, with all that must live as long as it.
pub struct Fixture {
    pub machine: Machine,
    servers: Vec<TestServer>,
    device: Option<LoopDevice>,
    folder: tempfile::TempDir,
}

/// Why a source cannot be tested here; none if it can.
pub fn hindrance(source: &Source) -> Option<&'static str> {
    let file_systems = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let has = |name: &str| file_systems.lines().any(|line| line.split_whitespace().last() == Some(name));
    match source.way {
        Way::Drive | Way::Disk(..) | Way::Disc(_) if !can_mount() => Some("this user may mount no disks"),
        Way::Drive | Way::Disk(..) if !has("ext4") => Some("this kernel has no ext4"),
        Way::Disc(_) if !has("iso9660") => Some("this kernel has no iso9660"),
        Way::Disc(_) if workspace::missing(&["genisoimage"]).is_some() => Some("no program genisoimage here"),
        _ => None,
    }
}

impl Fixture {
    /// The machine, in a network namespace of the calling thread. Its image has this policy.
    pub fn of(source: &Source, made: &Made, policy: Option<&str>) -> Self {
        let is_text = std::str::from_utf8(&made.user_data).is_ok_and(|text| !text.contains('\0'));
        let is_encoded = source.is_text && !is_text;
        let bytes =
            if is_encoded { STANDARD.encode(&made.user_data).into_bytes() } else { made.user_data.clone() };
        let mut simulation = Simulation::of(source.platform);
        let variables =
            platform::named(source.platform).map(|platform| platform.variables).unwrap_or_default();
        for name in variables.keys().filter(|name| name.starts_with("tag")) {
            // Where tags are names alone, users write values into them.
            let mark = if name == "tags" { ':' } else { '=' };
            simulation = simulation.set(name, &format!("cluster{mark}{TAG}"));
        }
        if matches!(source.way, Way::Simulated | Way::Drive) {
            simulation = simulation.user_data(bytes.clone());
        }
        let folder = workspace::scratch();
        let mut fixture = Self {
            machine: Machine::start(simulation.clone()),
            servers: servers(made),
            device: None,
            folder,
        };
        fixture.set_up(source, policy, &bytes);
        fixture.lay_out(source, simulation, &bytes);
        fixture
    }

    /// The root of its file system.
    pub fn root(&self) -> &Path {
        self.machine.root()
    }

    fn set_up(&self, source: &Source, policy: Option<&str>, bytes: &[u8]) {
        FILES.iter().for_each(|(path, text)| self.write(path, text.as_bytes()));
        source
            .firmware
            .iter()
            .for_each(|(field, text)| self.write(&format!("sys/class/dmi/id/{field}"), text.as_bytes()));
        policy
            .into_iter()
            .for_each(|text| self.write("usr/lib/kiln/policy.json", text.as_bytes()));
        if !source.words.is_empty() {
            self.machine.append(&source.words.replace("${digest}", &sha256(bytes)));
        }
    }

    fn lay_out(&mut self, source: &Source, simulation: Simulation, bytes: &[u8]) {
        match source.way {
            Way::Simulated => {}
            Way::Files(files) => files(bytes).iter().for_each(|(path, bytes)| self.write(path, bytes)),
            Way::Words(words) => self.machine.append(&words(bytes)),
            Way::Drive => {
                let drive = simulation
                    .build()
                    .and_then(|machine| machine.drive())
                    .ok()
                    .flatten()
                    .expect("the platform has a drive");
                self.attach(&drive.label, with_password(drive.files));
            }
            Way::Disk(label, files) => self.attach(label, files(bytes)),
            Way::Disc(files) => self.attach_disc(files(bytes)),
            Way::Https(content) => {
                self.servers.push(documents::serve(
                    "127.0.0.1:443",
                    Some(certificates().server.clone()),
                    content(bytes),
                ));
                self.write("etc/hosts", format!("127.0.0.1 localhost {EQUINIX}\n").as_bytes());
            }
        }
    }

    /// A file that only root may read.
    pub fn write(&self, path: &str, bytes: &[u8]) {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().expect("a file lies in a folder"))
            .expect("the folder is the test's");
        let file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
        file.and_then(|mut file| file.write_all(bytes)).expect("the folder is the test's");
    }

    fn attach(&mut self, label: &str, files: Files) {
        let content = self.content(&files);
        let image = self.folder.path().join("image");
        let words = ["-q", "-t", "ext4", "-O", "^has_journal", "-L", label, "-d", &content].map(OsStr::new);
        workspace::output("mke2fs", words.into_iter().chain([image.as_os_str(), OsStr::new(DISK)]));
        self.insert(&image);
    }

    fn attach_disc(&mut self, files: Files) {
        let disc = disc(self.folder.path(), "disc", Path::new(&self.content(&files)));
        self.insert(&disc);
    }

    fn content(&self, files: &Files) -> String {
        let content = self.folder.path().join("content");
        for (path, bytes) in files {
            let path = content.join(path);
            fs::create_dir_all(path.parent().expect("it lies in the folder"))
                .expect("the folder is the test's");
            fs::write(path, bytes).expect("the folder is the test's");
        }
        content.display().to_string()
    }

    fn insert(&mut self, image: &Path) {
        let device = LoopDevice::attach(image).expect("there was one a moment ago");
        self.write("sys/class/block/vdb/size", b"2048\n");
        fs::create_dir_all(self.root().join("dev")).expect("the folder is the test's");
        workspace::output(
            "cp",
            ["-a".as_ref(), device.path().as_ref(), self.root().join("dev/vdb").as_os_str()],
        );
        self.device = Some(device);
    }
}

/// The content of a pointer's URL, and the token server of a template.
fn servers(made: &Made) -> Vec<TestServer> {
    let mut servers = Vec::new();
    if !made.pointed.is_empty() {
        servers.push(documents::serve(PLAIN, None, made.pointed.clone()));
    }
    if !made.asked.is_empty() {
        servers.push(documents::serve(SECURE, Some(certificates().server.clone()), made.asked.clone()));
    }
    servers
}

/// The password of the administrator, as Nova puts it into its documents.
fn with_password(mut files: Files) -> Files {
    for (_, bytes) in files.iter_mut().filter(|(path, _)| path.ends_with("openstack/latest/meta_data.json")) {
        let text =
            String::from_utf8_lossy(bytes).replacen('{', &format!("{{\"admin_pass\": \"{PASSWORD}\","), 1);
        *bytes = text.into_bytes();
    }
    files
}
