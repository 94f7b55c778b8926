//! Releases in the shape of Flatcar's that boot: Debian's systemd and kernel are inside, on the disks of
//! [`testkit::lookalike_flatcar`].

use std::fs;
use std::path::{Path, PathBuf};

use testkit::lookalike_flatcar::{Flatcar, NEEDS, Sizes};

use crate::kiln;
use crate::workspace;

/// Large enough for Debian's `/usr` and for containers.
const SIZES: Sizes = Sizes { esp: 262_144, usr: 1_048_576, oem: 40_960, root: 2_097_152 };
const USR_BLOCKS: u64 = 120_000;

/// For Debian's systemd: Flatcar's initrd has mounted everything, and nobody is at the console.
pub const ARGUMENTS: &str = "console=ttyS0 systemd.firstboot=off systemd.gpt_auto=0 loglevel=4";

/// Where the package `ignition` has its engine.
const IGNITION: [&str; 2] = ["/usr/lib/dracut/modules.d/30ignition/ignition", "/usr/libexec/ignition"];

/// What differs between Flatcar's releases.
#[derive(Debug)]
pub struct Layout {
    name: &'static str,
    /// A release that has it.
    pub version: &'static str,
}

/// `/etc` is an overlay, and extensions are merged after the switch to the root.
pub const OLD: Layout = Layout { name: "old", version: "4593.2.5" };

/// `/etc` is a confext without the right to execute, and extensions are merged in the initrd.
pub const NEW: Layout = Layout { name: "new", version: "4757.1.0" };

/// What keeps this machine from making releases.
pub fn hindrance() -> Option<String> {
    if !workspace::is_root() {
        return Some("only root can give files to root".to_owned());
    }
    if let Some(program) = workspace::missing(&NEEDS.map(|(program, _)| program)) {
        return Some(format!("no program {program} here"));
    }
    ignition().is_none().then(|| "no package ignition".to_owned())
}

fn ignition() -> Option<&'static str> {
    IGNITION.into_iter().find(|path| Path::new(path).exists())
}

/// The folder of a server with the release of this layout, and `key.asc`, which signed it. To pack a disk
/// takes minutes, so it is made once.
pub fn release(layout: &Layout) -> PathBuf {
    let debian = kiln::extensions();
    let runtime = fs::read_to_string(debian.folder.join("SHA256SUMS")).expect("a build has sums");
    let runtime = runtime.lines().filter(|line| line.contains("/containerd-") || line.contains("/runc-"));
    let made_from = [
        debian.base().file_name().expect("it has a name").to_string_lossy().into_owned(),
        runtime.collect(),
        include_str!("lookalike_flatcar.rs").to_owned(),
        include_str!("../../testkit/src/lookalike_flatcar.rs").to_owned(),
        include_str!("../flatcar/initrd").to_owned(),
        include_str!("../flatcar/release").to_owned(),
        include_str!("../flatcar/usr").to_owned(),
    ];
    let name = format!("lookalike-flatcar/{}", layout.name);
    workspace::kept_as_made(&name, &made_from.join("\n"), |folder| make(layout, folder))
}

fn make(layout: &Layout, mirror: &Path) {
    let (debian, work) = (kiln::extensions(), workspace::scratch());
    let path = |name: &str| work.path().join(name);
    let (root, extensions, squashfs) = (path("debian"), debian.file("-sysext"), path("usr.squashfs"));
    debian.unpack_base(&root);
    script("usr", &[&root, layout.name.as_ref(), layout.version.as_ref(), &extensions]);
    let (initrd, offset) = (path("initrd"), (USR_BLOCKS * 4096).to_string());
    script("initrd", &[&root, layout.name.as_ref(), offset.as_ref(), &initrd]);
    let (usr, kernel) = (root.join("usr"), kiln::kernel_of(&root));
    let like = Flatcar {
        sizes: SIZES,
        usr: &usr,
        usr_blocks: USR_BLOCKS,
        kernel: &kernel,
        initrd: Some(&initrd),
        arguments: Some(ARGUMENTS),
    };
    let disk = like.disk(work.path(), "vendor.bin").path;
    let squash = ["-quiet", "-no-progress", "-comp", "zstd", "-Xcompression-level", "1"].map(Path::new);
    run("mksquashfs", &[&[&*usr, &*squashfs], &squash[..]].concat());
    let network = path("network.cpio.gz");
    let engine = ignition().expect("the package is here").as_ref();
    script("initrd", &[&root, layout.name.as_ref(), &squashfs, &network, engine]);
    script("release", &[layout.version.as_ref(), mirror, &disk, &kernel, &network]);
}

fn script(name: &str, words: &[&Path]) {
    run(&workspace::root().join("tests/flatcar").join(name).display().to_string(), words);
}

fn run(program: &str, words: &[&Path]) {
    workspace::output(program, words);
}
