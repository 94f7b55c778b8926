//! An archive in the shape of Ubuntu's that whole images can be made of. Its packages are Debian's, packed
//! anew.
//!
//! | in it | as in Ubuntu's |
//! |---|---|
//! | `noble`, `noble-updates`, `noble-security` | signed by one key, in one archive; `main` and `universe` |
//! | packages | their members are compressed with zstd |
//! | `linux-image-REL` | the kernel alone; hooks run by a trigger of dpkg |
//! | `linux-modules-REL`, `linux-modules-extra-REL` | the modules, compressed with zstd, in `/lib` |
//! | `linux-image-virtual`, `linux-image-generic` | without and with the extra modules and firmware; an update in its phase |
//! | `linux-firmware`, `amd64-microcode`, `intel-microcode` | the places of the files; their content is made up |
//! | `ubuntu-ports`, an archive beside it | lists for arm64 of the same packages, without the packages: enough to lock |
//!
//! The archive for arm64 that images can be made of is another one, of Debian's packages for arm64.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use testkit::archive::{Key, Suite, TOOLS, package, publish, with_zstd};

use crate::kiln::{self, DEFAULT, succeed};
use crate::lab::lab;
use crate::workspace;

/// How the name of Debian's kernel package begins, and how its release ends, before the architecture.
const KERNEL: (&str, &str) = ("linux-image-", "-cloud-");

/// What Ubuntu has in `universe`, of the packages of a node.
const UNIVERSE: &[&str] = &["systemd-boot-efi"];

/// The modules that the kernel does without unless asked, below its folder `kernel`, where it has them.
const EXTRA: &[&str] = &["drivers/comedi", "drivers/net/ethernet/google", "drivers/nvme", "fs/erofs"];

/// Packages of files alone: name, path, content. Those of microcode exist for amd64 only.
const FILES: &[(&str, &str, &str)] = &[
    ("linux-firmware", "lib/firmware/ql2500_fw.bin", "made-up firmware"),
    ("amd64-microcode", "lib/firmware/amd-ucode/microcode_amd_fam19h.bin", AMD_MICROCODE),
    ("intel-microcode", "lib/firmware/intel-ucode/06-8f-08", INTEL_MICROCODE),
];

/// The microcode for AMD's processors.
pub const AMD_MICROCODE: &str = "made-up microcode of AMD";

/// The microcode for Intel's processors.
pub const INTEL_MICROCODE: &str = "made-up microcode of Intel";

/// The archive.
#[derive(Debug)]
pub struct LookalikeUbuntu {
    /// Its folder, a mirror.
    pub mirror: PathBuf,
    /// The folder of the archive for arm64: itself, if its packages are.
    pub ports: PathBuf,
    /// The file with the key that signs its lists.
    pub keyring: PathBuf,
}

/// What keeps this machine from making the archive.
pub fn hindrance() -> Option<String> {
    let program = workspace::missing(&[TOOLS, &["xz", "zstd", "mmdebstrap"]].concat())?;
    Some(format!("no program {program} here"))
}

impl LookalikeUbuntu {
    /// The archive, made once of the packages of the default image.
    pub fn of_this_machine() -> Self {
        Self::made_of("amd64", "lookalike-ubuntu", "ubuntu", "ubuntu-ports")
    }

    /// The archive of ports, made once of the packages of the default image for arm64.
    pub fn of_arm64() -> Self {
        Self::made_of("arm64", "lookalike-ubuntu-arm64", "ubuntu-ports", "ubuntu-ports")
    }

    fn made_of(arch: &str, name: &str, mirror: &str, ports: &str) -> Self {
        let key = format!("{}\n{}", lab().key(), include_str!("lookalike_ubuntu.rs"));
        let in_folder = |folder: &Path| Self {
            mirror: folder.join(mirror),
            ports: folder.join(ports),
            keyring: folder.join("archive.gpg"),
        };
        in_folder(&workspace::kept_as_made(name, &key, |folder| in_folder(folder).fill(arch)))
    }

    /// The words for `kiln` that name the archive and its key.
    pub fn arguments(&self) -> [String; 2] {
        self.arguments_for(&self.mirror)
    }

    /// The same of the archive for arm64.
    pub fn arguments_of_ports(&self) -> [String; 2] {
        self.arguments_for(&self.ports)
    }

    fn arguments_for(&self, mirror: &Path) -> [String; 2] {
        [
            format!("--ubuntu-mirror={}", mirror.display()),
            format!("--ubuntu-keyring={}", self.keyring.display()),
        ]
    }

    fn fill(&self, arch: &str) {
        let work = workspace::scratch();
        let (mut main, mut universe, mut kernel) = (String::new(), String::new(), None);
        for (name, file) in debian_packages(arch, work.path()) {
            let Some(rest) = name.strip_prefix(KERNEL.0) else {
                let list = if UNIVERSE.contains(&name.as_str()) { &mut universe } else { &mut main };
                list.push_str(&publish(&self.mirror, &file, &with_zstd(&file), ""));
                continue;
            };
            // The other one only names it.
            kernel = rest.contains(KERNEL.1).then_some((rest.to_owned(), file)).or(kernel);
        }
        let (release, file) = kernel.expect("the default image has a kernel");
        let add = |name: &str, control: &str, further: &str| {
            let made = work.path().join(format!("{name}.deb"));
            package(
                &work.path().join(name),
                &format!("Package: {name}\nArchitecture: {arch}\n{control}"),
                &made,
            );
            publish(&self.mirror, &made, &fs::read(&made).expect("it was made"), further)
        };
        split(&file, &release, work.path());
        let exact = format!("linux-image-{release}");
        for (name, needs) in [
            (exact.clone(), format!("kmod, linux-base, linux-modules-{release}")),
            (format!("linux-modules-{release}"), String::new()),
            (format!("linux-modules-extra-{release}"), exact.clone()),
        ] {
            let needs = if needs.is_empty() { needs } else { format!("Depends: {needs}\n") };
            main += &add(&name, &format!("Version: 6.12.0-2.2\nSource: linux\n{needs}"), "");
        }
        let of_this = |(name, ..): &&(&str, &str, &str)| arch == "amd64" || !name.ends_with("-microcode");
        for (name, path, content) in FILES.iter().filter(of_this) {
            let file = work.path().join(name).join(path);
            fs::create_dir_all(file.parent().expect("it has folders"))
                .and_then(|()| fs::write(file, content))
                .expect("the folder is the test's");
            main += &add(name, "Version: 20240318\n", "");
        }
        let mut updates = String::new();
        for (name, needs) in [
            ("linux-image-virtual", exact.clone()),
            ("linux-image-generic", format!("{exact}, linux-modules-extra-{release}, linux-firmware")),
        ] {
            // Before the update it asks for a kernel that is gone: a host that is not in the phase would find
            // no solution.
            main += &add(name, "Version: 6.12.0-1.1\nDepends: linux-image-6.12.0-1\n", "");
            let control = format!("Version: 6.12.0-2.2\nDepends: {needs}\n");
            updates += &add(name, &control, "Phased-Update-Percentage: 10\n");
        }
        self.sign(arch, [&main, &updates, &universe], work.path());
    }

    fn sign(&self, arch: &str, [main, updates, universe]: [&str; 3], work: &Path) {
        let key = Key::new(&work.join("key"));
        for (name, main, universe) in
            [("noble", main, universe), ("noble-updates", updates, ""), ("noble-security", "", "")]
        {
            let write = |folder: &Path, arch: &str, main: &str, universe: &str| {
                let suite = Suite {
                    origin: "Ubuntu",
                    name,
                    date: "Thu, 25 Apr 2024 15:10:33 UTC",
                    valid_until: None,
                    arch,
                    components: &[("main", main), ("universe", universe)],
                };
                suite.write(folder, &key);
            };
            write(&self.mirror, arch, main, universe);
            if self.ports != self.mirror {
                let arm64 = |list: &str| list.replace("\nArchitecture: amd64\n", "\nArchitecture: arm64\n");
                write(&self.ports, "arm64", &arm64(main), &arm64(universe));
            }
        }
        fs::copy(key.keyring(), &self.keyring).expect("the target folder is writable");
    }
}

/// A definition in `folder`: the base of `definition` (relative to the checkout) with all packages of a node,
/// and without a program of the lab, which has few for arm64.
pub fn base_alone(definition: &str, folder: &Path) -> PathBuf {
    let definition = workspace::root().join(definition);
    let text = format!(
        "schema = 1\nextends = {definition:?}\nname = \"base\"\nlayers = [\"boot\", \"node\", \"./runtime\"]\nruntime = \"runtime\"\n"
    );
    // The packages that the layers of a whole image name.
    let layer = "schema = 1\nsummary = 'x'\nprovides = ['container-runtime', 'containerd']\n\
                 packages = ['libseccomp2', 'mount', 'util-linux']\n";
    let path = folder.join("base.toml");
    fs::create_dir_all(folder.join("runtime"))
        .and_then(|()| fs::write(folder.join("runtime/layer.toml"), layer))
        .and_then(|()| fs::write(&path, text))
        .expect("the folder is the test's");
    path
}

/// `kiln` with this verb for the definition of [`base_alone`], whose lock is beside it.
pub fn kiln_on_base(verb: &str, definition: &Path, arch: &str) -> Command {
    let mut command = Command::new(kiln::programs().join("kiln"));
    command.arg(verb).arg(definition).arg(format!("--set=arch={arch}"));
    command.arg("--lock").arg(definition.with_extension("lock"));
    command.arg("--layers-dir").arg(workspace::root().join("layers"));
    // The package lists of frozen mirrors may be past their Valid-Until.
    command.arg("--allow-expired-release").stdin(std::process::Stdio::null());
    command
}

/// Names and files of the packages of the default image for this architecture.
fn debian_packages(arch: &str, work: &Path) -> Vec<(String, PathBuf)> {
    let (definition, store) = (base_alone(DEFAULT, &work.join("debian")), work.join("store"));
    succeed(kiln_on_base("fetch", &definition, arch).arg("--cache-dir").arg(&store));
    let lock = definition.with_extension("lock");
    let lock: toml::Table =
        fs::read_to_string(&lock).ok().and_then(|text| text.parse().ok()).expect("a lock");
    let packages = lock["package"].as_array().expect("packages are locked");
    let field = |package: &toml::Value, name: &str| {
        package[name].as_str().unwrap_or_else(|| panic!("a package without {name}")).to_owned()
    };
    packages
        .iter()
        .map(|package| {
            let digest = field(package, "sha256");
            let blob = store.join("blobs").join(digest.trim_start_matches("sha256:"));
            (field(package, "name"), blob)
        })
        .collect()
}

/// Takes Debian's kernel package apart, into the folders of the three packages that Ubuntu makes of it.
fn split(file: &Path, release: &str, work: &Path) {
    let [image, modules, extra] = ["linux-image", "linux-modules", "linux-modules-extra"]
        .map(|name| work.join(format!("{name}-{release}")));
    let script = r#"
        release=$1 deb=$2 image=$3 modules=$4 extra=$5
        shift 5
        dpkg-deb -x "$deb" "$modules"
        mkdir -p "$image/boot" "$modules/lib"
        mv "$modules/boot/vmlinuz-$release" "$image/boot/"
        mv "$modules/usr/lib/modules" "$modules/lib/modules"
        rm -r "$modules/usr"
        find "$modules/lib" -name '*.ko.xz' -print0 | xargs -0 xz -d
        find "$modules/lib" -name '*.ko' -print0 | xargs -0 zstd -q -1 --rm
        for folder; do
            into=$extra/lib/modules/$release/kernel/$folder
            [ -e "$modules/lib/modules/$release/kernel/$folder" ] || continue
            mkdir -p "$(dirname "$into")"
            mv "$modules/lib/modules/$release/kernel/$folder" "$into"
        done"#;
    let mut command = Command::new("sh");
    command
        .args(["-euc", script, "sh", release])
        .arg(file)
        .args([&image, &modules, &extra])
        .args(EXTRA);
    succeed(&mut command);
    let hooks = format!(
        "if [ \"$1\" = triggered ]; then sh /usr/lib/linux/triggers/{release}; rm -f /usr/lib/linux/triggers/{release}; exit; fi\n\
         depmod {release}\nlinux-update-symlinks install {release} /boot/vmlinuz-{release}\n\
         mkdir -p /usr/lib/linux/triggers\n\
         echo 'if [ -d /etc/kernel/postinst.d ]; then run-parts --arg={release} /etc/kernel/postinst.d; fi' > /usr/lib/linux/triggers/{release}\n\
         dpkg-trigger --no-await linux-update-{release}\n"
    );
    write_script(&image, &hooks);
    fs::write(image.join("DEBIAN/triggers"), format!("interest linux-update-{release}\n"))
        .expect("the folder is the test's");
    write_script(&extra, &format!("depmod -a -F /boot/System.map-{release} {release}\n"));
}

/// Gives the package in `root` a script that runs when it is configured.
fn write_script(root: &Path, lines: &str) {
    let file = root.join("DEBIAN/postinst");
    fs::create_dir_all(root.join("DEBIAN"))
        .and_then(|()| fs::write(&file, format!("#!/bin/sh\nset -e\n{lines}")))
        .and_then(|()| fs::set_permissions(&file, fs::Permissions::from_mode(0o755)))
        .expect("the folder is the test's");
}
