//! Runs `kiln`, and builds images that several tests share.

use std::collections::hash_map::DefaultHasher;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::hash::Hasher;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

use crate::lab::{Arch, Lab, lab};
use crate::workspace;

/// The default definition, relative to the checkout.
pub const DEFAULT: &str = "images/debian-13.toml";

/// The default definition as the tests of the join change it, relative to the checkout.
pub const JOIN: &str = "tests/images/join.toml";

/// The container image of a shell and small tools that [`image_with_containers`] carries.
pub const BUSYBOX: &str = "localhost/lab/busybox:1";

/// The folder of `kiln` and the static `firstboot`, as a release has them: `KILN_PROGRAMS`, else built from
/// this checkout.
pub fn programs() -> &'static Path {
    static PROGRAMS: OnceLock<PathBuf> = OnceLock::new();
    PROGRAMS.get_or_init(|| {
        if let Some(folder) = std::env::var_os("KILN_PROGRAMS") {
            return folder.into();
        }
        build_programs(&[])
    })
}

/// Puts the agent for arm64 beside `kiln`, unless the programs are those of `KILN_PROGRAMS`.
pub fn build_agent_for_arm64() {
    if std::env::var_os("KILN_PROGRAMS").is_none() {
        build_programs(&["arm64"]);
    }
}

/// Calls `tools/programs` with these words and returns the folder.
fn build_programs(words: &[&str]) -> PathBuf {
    let _alone = workspace::exclusive("programs");
    let tool = workspace::root().join("tools/programs");
    PathBuf::from(workspace::output(&tool.display().to_string(), words).trim())
}

/// One `kiln build` with the lab's parts.
#[derive(Debug, Clone)]
pub struct Build {
    definition: PathBuf,
    output: PathBuf,
    arguments: Vec<OsString>,
}

impl Build {
    /// A build of `definition` (relative to the checkout) into `output`.
    pub fn new(definition: &str, output: &Path) -> Self {
        Self::with(lab(), definition, output)
    }

    /// The same with the parts of `lab`, for machines of its architecture.
    pub fn with(lab: &Lab, definition: &str, output: &Path) -> Self {
        let definition = workspace::root().join(definition);
        let mut arguments: Vec<OsString> =
            vec!["--mirror".into(), format!("https://={}", lab.mirror.display()).into()];
        let arch = (lab.arch == Arch::Arm64).then(|| "arch=arm64".to_owned());
        for set in lab.sets(&definition).into_iter().chain(arch) {
            arguments.extend(["--set".into(), set.into()]);
        }
        // The package lists of frozen mirrors may be past their Valid-Until.
        arguments.push("--allow-expired-release".into());
        Self { definition, output: output.to_owned(), arguments }
    }

    /// Keeps the lock in `path`, so that several builds share it.
    pub fn lock(self, path: &Path) -> Self {
        self.arg("--lock").arg(path)
    }

    /// Uses a separate store.
    pub fn cache(self, folder: &Path) -> Self {
        self.arg("--cache-dir").arg(folder)
    }

    /// Adds an argument.
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// The words after the program's name.
    pub fn arguments(&self) -> Vec<OsString> {
        let mut words: Vec<OsString> =
            vec!["build".into(), "--output-dir".into(), self.output.clone().into()];
        words.extend(self.common_arguments());
        words
    }

    /// The words that other verbs understand, too.
    fn common_arguments(&self) -> Vec<OsString> {
        let mut words = vec![self.definition.clone().into()];
        words.extend(self.arguments.clone());
        // The committed locks pin upstream's bytes; the lab has different ones.
        if !self.arguments.iter().any(|word| word == "--lock") {
            words.extend(["--lock".into(), self.output.with_extension("lock").into()]);
        }
        words
    }

    /// The command, to be changed and run by the test.
    pub fn command(&self) -> Command {
        let mut command = Command::new(programs().join("kiln"));
        command.args(self.arguments()).stdin(Stdio::null());
        command
    }

    /// The command with another verb that has a build's options, but for those of its outputs: `fetch`.
    pub fn command_of(&self, verb: &str) -> Command {
        let mut command = Command::new(programs().join("kiln"));
        command.arg(verb).args(self.common_arguments()).stdin(Stdio::null());
        command
    }

    /// Builds; on failure, panics with the output of `kiln`.
    pub fn run(&self) {
        succeed(&mut self.command());
    }
}

/// Runs to the end; panics with all output unless the exit code is zero.
pub fn succeed(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("starting {command:?}: {error}"));
    let said =
        || format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?} failed ({}):\n{}", output.status, said());
    output
}

/// The outputs of one image.
#[derive(Debug, Clone)]
pub struct Image {
    /// The folder.
    pub folder: PathBuf,
    name: String,
}

impl Image {
    /// The outputs in `folder` of the definition `definition`, whose file is named after the image.
    pub fn at(folder: &Path, definition: &str) -> Self {
        let name = Path::new(definition)
            .file_stem()
            .expect("a definition is a file")
            .to_string_lossy()
            .into_owned();
        Self { folder: folder.to_owned(), name }
    }

    /// An output by its suffix after the image's name: ".raw", "-pxe".
    pub fn file(&self, ending: &str) -> PathBuf {
        let path = self.folder.join(format!("{}{ending}", self.name));
        assert!(path.exists(), "the build wrote no {}", path.display());
        path
    }

    /// Unpacks the base alone into the new folder `root`.
    pub fn unpack_base(&self, root: &Path) {
        fs::create_dir(root).expect("the folder is the test's");
        let base = self.base();
        workspace::output("tar", ["-xzf".as_ref(), base.as_os_str(), "-C".as_ref(), root.as_os_str()]);
    }

    /// The base alone, the lowest layer of the OCI layout: an archive that is named after its digest.
    pub fn base(&self) -> PathBuf {
        let layout = self.file("-oci");
        let blob = |digest: &str| layout.join("blobs").join(digest.replace(':', "/"));
        let read = |path: &Path| -> Value {
            serde_json::from_slice(&fs::read(path).expect("the layout is complete")).expect("it is JSON")
        };
        let digest = |value: &Value| value["digest"].as_str().expect("descriptors have digests").to_owned();
        let manifest = read(&blob(&digest(&read(&layout.join("index.json"))["manifests"][0])));
        blob(&digest(&manifest["layers"][0]))
    }

    /// The kernel command line of the network set.
    pub fn network_command_line(&self) -> String {
        let script = fs::read_to_string(self.file("-pxe").join("boot.ipxe")).expect("the set has a script");
        let line = script.lines().find_map(|line| line.strip_prefix("kernel vmlinuz initrd=initrd "));
        line.expect("the script loads the kernel").to_owned()
    }

    /// The kernel command line of the disk image.
    pub fn command_line(&self) -> String {
        fs::read_to_string(self.file(".cmdline"))
            .expect("the command line is text")
            .trim()
            .to_owned()
    }
}

/// The kernel in the unpacked base `root`.
pub fn kernel_of(root: &Path) -> PathBuf {
    let mut files = fs::read_dir(root.join("boot")).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_kernel =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz-"));
    files.find(is_kernel).expect("the base has a kernel")
}

/// The image of `definition`, built once for all tests and runs with the same programs, definitions and
/// parts.
pub fn image(definition: &str) -> Image {
    shared(definition, "", &[])
}

/// The disk image of `definition` with the container images that a pod needs on a machine that reaches no
/// registry: [`BUSYBOX`], and a stand-in for the runtime's pause image. Built once, as [`image`].
pub fn image_with_containers(definition: &str) -> Image {
    let preload = lab().preload(&workspace::root().join(definition));
    shared(definition, "+containers", &[set(&preload), set("outputs=[\"raw\"]")])
}

/// The image of [`JOIN`]: the default one with [`BUSYBOX`] and a pod network that ends at the machine, as a
/// disk and for the network.
pub fn joining_image() -> Image {
    joining_image_of(JOIN)
}

/// The same of another definition with the same versions.
pub fn joining_image_of(definition: &str) -> Image {
    joining_image_with(definition, &[])
}

/// The same, built with more words: mirrors and their keys.
pub fn joining_image_with(definition: &str, words: &[String]) -> Image {
    let preload = lab().preload(&workspace::root().join(JOIN));
    shared(definition, "", &[&[set(&preload)], words].concat())
}

/// The image of `definition` with what a control plane runs, and the tag of its etcd.
pub fn control_plane_image(definition: &str) -> (Image, String) {
    let preload = lab().preload_control_plane(&workspace::root().join(definition));
    let etcd = preload.split("/etcd:").nth(1).and_then(|rest| rest.split('"').next());
    let etcd = etcd.expect("kubeadm lists etcd").to_owned();
    (shared(definition, "", &[set(&preload)]), etcd)
}

fn set(value: &str) -> String {
    format!("--set={value}")
}

/// The image of [`JOIN`] as system extensions, and as an OCI layout, whose lowest layer is the base alone.
pub fn extensions() -> Image {
    shared(JOIN, "+extensions", &[set("outputs=[\"sysext\", \"oci\"]")])
}

/// The extensions of [`JOIN`] alone, each with dm-verity and a signature by `key`, whose certificate is
/// `certificate`, and with files for systemd-sysupdate that name the address `url`; in `folder`.
pub fn signed_extensions(folder: &Path, key: &Path, certificate: &Path, url: &str) -> Image {
    let text = |path: &Path| format!("{:?}", path.display().to_string());
    let image = Image::at(&folder.join("signed"), JOIN);
    Build::new(JOIN, &image.folder)
        .arg("--layers-dir")
        .arg(workspace::root().join("layers"))
        .lock(&folder.join("signed.lock"))
        .arg(set("outputs=[\"sysext\"]"))
        .arg(set("output.sysext.verity=true"))
        .arg(set(&format!("output.sysext.sign-key={}", text(key))))
        .arg(set(&format!("output.sysext.sign-certificate={}", text(certificate))))
        .arg(set(&format!("output.sysext.url={url:?}")))
        .run();
    image
}

fn shared(definition: &str, variant: &str, words: &[String]) -> Image {
    let _alone = workspace::exclusive("image");
    let key = inputs_key();
    let folder = workspace::kept().join("images").join(format!("{key:016x}"));
    let name = definition.replace('/', "-") + variant;
    let image = Image::at(&folder.join(&name), definition);
    if !image.folder.join("SHA256SUMS").exists() {
        fs::create_dir_all(&folder).expect("the target folder is writable");
        forget_others(&folder);
        // One lock for all variants: none changes what is fetched.
        let build = Build::new(definition, &image.folder)
            .arg("--layers-dir")
            .arg(workspace::root().join("layers"))
            .lock(&folder.join(definition.replace('/', "-") + ".lock"));
        words.iter().fold(build, Build::arg).run();
    }
    image
}

/// Images of earlier programs are large and no longer used.
fn forget_others(keep: &Path) {
    for entry in fs::read_dir(keep.parent().expect("a folder of images")).into_iter().flatten().flatten() {
        if entry.path() != keep {
            // Leftovers only cost disk space.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn inputs_key() -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(lab().key().as_bytes());
    for program in ["kiln", "firstboot"] {
        hasher.write(&fs::read(programs().join(program)).expect("the programs are built"));
    }
    for folder in ["images", "layers", "tests/images"] {
        hash_tree(&workspace::root().join(folder), &mut hasher);
    }
    hasher.finish()
}

fn hash_tree(folder: &Path, hasher: &mut DefaultHasher) {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder)
        .expect("a folder of the checkout")
        .flatten()
        .map(|entry| entry.path())
        .collect();
    entries.sort();
    for path in entries {
        hasher.write(path.as_os_str().as_encoded_bytes());
        if path.is_dir() {
            hash_tree(&path, hasher);
        } else if path.extension() != Some(OsStr::new("lock")) {
            hasher.write(&fs::read(&path).expect("a file of the checkout"));
        }
    }
}
