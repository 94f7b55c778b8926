//! Disks that look like Flatcar's, made of files of the test and by programs of Debian. Written after
//! `build_library` of github.com/flatcar/scripts: `disk_layout.json` (partitions), `disk_util` (file systems,
//! verity, the root hash in the kernel), `grub_install.sh`, `grub.cfg`.
//!
//! They differ from the real ones where Debian's programs do: GRUB is Debian's, which finds the kernel by its
//! name and not by the priorities in the partition table, and the initrd is a file, because Debian's kernel
//! has none built in.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The programs that make such a disk, each with its Debian package.
pub const NEEDS: [(&str, &str); 6] = [
    ("sgdisk", "gdisk"),
    ("mkfs.btrfs", "btrfs-progs"),
    ("veritysetup", "cryptsetup-bin"),
    ("mkfs.vfat", "dosfstools"),
    ("mcopy", "mtools"),
    ("mke2fs", "e2fsprogs"),
];

/// A program of [`NEEDS`] that this machine lacks, and its package.
pub fn missing() -> Option<(&'static str, &'static str)> {
    let folders: Vec<PathBuf> = std::env::var_os("PATH")
        .map(|path| std::env::split_paths(&path).collect())
        .unwrap_or_default();
    NEEDS
        .into_iter()
        .find(|(program, _)| !folders.iter().any(|folder| folder.join(program).is_file()))
}

const SECTOR: u64 = 512;
const BLOCK: u64 = 4096;

/// Where the root hash is written into the kernel of amd64.
const HASH_IN_KERNEL: usize = 0x40;

/// The identifier of USR-A, the same on every Flatcar.
pub const USR_A: &str = "7130c94a-213a-4e5a-8e26-6cce9662f132";

/// Lengths of the partitions that differ, in sectors.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// EFI-SYSTEM.
    pub esp: u64,
    /// USR-A, and USR-B.
    pub usr: u64,
    /// OEM.
    pub oem: u64,
    /// ROOT.
    pub root: u64,
}

impl Sizes {
    /// Of the LTS 4081.
    pub const OLD: Self = Self { esp: 262_144, usr: 2_097_152, oem: 262_144, root: 4_427_776 };
    /// Of everything newer.
    pub const NEW: Self = Self { esp: 2_097_152, usr: 4_194_304, oem: 2_097_152, root: 3_653_632 };
    /// So small that a test is quick.
    pub const SMALL: Self = Self { esp: 69_632, usr: 65_536, oem: 40_960, root: 81_920 };
}

/// The content of a disk.
#[derive(Debug, Clone, Copy)]
pub struct Flatcar<'a> {
    /// How long its partitions are.
    pub sizes: Sizes,
    /// The folder that becomes `/usr`.
    pub usr: &'a Path,
    /// Blocks of the file system in USR-A. Its hashes follow it.
    pub usr_blocks: u64,
    /// The kernel; at least 128 bytes.
    pub kernel: &'a Path,
    /// Beside the kernel.
    pub initrd: Option<&'a Path>,
    /// Arguments of the kernel besides Flatcar's own; GRUB is only installed where there are some.
    pub arguments: Option<&'a str>,
}

/// A disk, and what only its maker knows.
#[derive(Debug)]
pub struct Disk {
    /// The sparse file.
    pub path: PathBuf,
    /// The root hash of `/usr`, 64 hexadecimal digits.
    pub root_hash: String,
}

/// Number, label, type and length of each partition, in the order on the disk.
fn partitions(sizes: &Sizes) -> [(u32, &'static str, &'static str, u64); 7] {
    const USR: &str = "5dfbf5f4-2848-4bac-aa5e-0d9a20b745a6";
    [
        (1, "EFI-SYSTEM", "c12a7328-f81f-11d2-ba4b-00a0c93ec93b", sizes.esp),
        (2, "BIOS-BOOT", "21686148-6449-6e6f-744e-656564454649", 4096),
        (3, "USR-A", USR, sizes.usr),
        (4, "USR-B", USR, sizes.usr),
        (6, "OEM", "0fc63daf-8483-4772-8e79-3d69d8477de4", sizes.oem),
        (
            7,
            "OEM-CONFIG",
            "c95dc21a-df0e-4340-8d7b-26cbfa9a03e0",
            if sizes.root > 1 << 20 { 131_072 } else { 4096 },
        ),
        (9, "ROOT", "3884dd41-8582-4404-b9a8-e9b84f2df50e", sizes.root),
    ]
}

/// Where the partition with this label begins, and its length, in bytes.
pub fn place(sizes: &Sizes, label: &str) -> (u64, u64) {
    let mut at = 4096;
    for (_, name, _, sectors) in partitions(sizes) {
        if name == label {
            return (at * SECTOR, sectors * SECTOR);
        }
        at += sectors.next_multiple_of(4096);
    }
    panic!("Flatcar has no partition {label}")
}

impl Flatcar<'_> {
    /// Writes `folder/NAME` and the files that it is made of.
    pub fn disk(&self, folder: &Path, name: &str) -> Disk {
        let path = folder.join(name);
        let (root_at, root_size) = place(&self.sizes, "ROOT");
        // Whole cylinders of the geometry that VHD knows.
        let sectors = (root_at + root_size).div_ceil(SECTOR) + 4096;
        let size = sectors.next_multiple_of(if root_size > 1 << 30 { 258_048 } else { 4096 }) * SECTOR;
        File::create(&path).and_then(|file| file.set_len(size)).expect("the folder is the test's");
        self.partition(&path);
        let (usr, root_hash) = self.usr(folder);
        let esp = self.esp(folder, &root_hash);
        for (label, file) in
            [("USR-A", usr), ("EFI-SYSTEM", esp), ("OEM", self.oem(folder)), ("ROOT", self.root(folder))]
        {
            let (at, length) = place(&self.sizes, label);
            assert!(fs::metadata(&file).expect("it was made").len() <= length, "{label} is too long");
            copy_sparse(&file, &path, at);
            fs::remove_file(file).expect("the folder is the test's");
        }
        if self.arguments.is_some() {
            self.bios_loader(folder, &path);
        }
        Disk { path, root_hash }
    }

    fn partition(&self, path: &Path) {
        let mut words = vec![
            "--set-alignment=4096".to_owned(),
            "--disk-guid=00000000-0000-0000-0000-000000000001".to_owned(),
        ];
        for (number, label, kind, sectors) in partitions(&self.sizes) {
            let (at, _) = place(&self.sizes, label);
            let first = at / SECTOR;
            words.push(format!("--new={number}:{first}:{}", first + sectors - 1));
            words.push(format!("--change-name={number}:{label}"));
            words.push(format!("--typecode={number}:{kind}"));
            // The real ones are random; a disk of a test is always the same.
            words.push(format!("--partition-guid={number}:{number:08}-0000-4000-8000-000000000000"));
        }
        words.push(format!("--partition-guid=3:{USR_A}"));
        words.push("--partition-guid=4:e03dd35c-7c2d-4a47-b3fe-27f15780a57c".to_owned());
        // Priority 1, not to be tried but known to boot: what the patched GRUB goes by.
        words.extend(["--attributes=3:set:48".to_owned(), "--attributes=3:set:56".to_owned()]);
        words.push(path.display().to_string());
        run("sgdisk", &words.iter().map(String::as_str).collect::<Vec<_>>());
    }

    /// The file system of `/usr` with its hashes behind it, and the root hash.
    fn usr(&self, folder: &Path) -> (PathBuf, String) {
        let file = folder.join("usr.img");
        let length = self.usr_blocks * BLOCK;
        let (image, count) = (text(&file), length.to_string());
        File::create(&file)
            .and_then(|file| file.set_len(length))
            .expect("the folder is the test's");
        let words = ["-q", "--mixed", "-m", "single", "-d", "single", "--byte-count", &count, "--rootdir"];
        run("mkfs.btrfs", &[&words[..], &[text(self.usr), image]].concat());
        let (blocks, salt) =
            (format!("--data-blocks={}", self.usr_blocks), "--salt=".to_owned() + &"5a".repeat(32));
        let offset = format!("--hash-offset={count}");
        let said = run("veritysetup", &["format", "--hash=sha256", &blocks, &offset, &salt, image, image]);
        let hash = said
            .lines()
            .find_map(|line| line.strip_prefix("Root hash:"))
            .expect("veritysetup says it");
        (file, hash.trim().to_owned())
    }

    fn esp(&self, folder: &Path, root_hash: &str) -> PathBuf {
        let esp = folder.join("esp.img");
        let size = self.sizes.esp * SECTOR;
        File::create(&esp).and_then(|file| file.set_len(size)).expect("the folder is the test's");
        run("mkfs.vfat", &["-F", "32", "-n", "EFI-SYSTEM", "-i", "4b494c4e", text(&esp)]);
        let tree = folder.join("esp");
        for below in ["flatcar/grub", "EFI/boot"] {
            fs::create_dir_all(tree.join(below)).expect("the folder is the test's");
        }
        self.kernel(&tree.join("flatcar/vmlinuz-a"), root_hash);
        fs::write(tree.join("flatcar/first_boot"), "").expect("the folder is the test's");
        if let Some(initrd) = self.initrd {
            fs::copy(initrd, tree.join("flatcar/initrd-a")).expect("the initrd is there");
        }
        if let Some(arguments) = self.arguments {
            let menu = menu(arguments, root_hash);
            fs::write(tree.join("flatcar/grub/grub.cfg"), menu).expect("the folder is the test's");
            grub_image(folder, "x86_64-efi", &tree.join("EFI/boot/bootx64.efi"), &["efi_gop"]);
        }
        for entry in fs::read_dir(&tree).expect("the folder is the test's").flatten() {
            run("mcopy", &["-s", "-i", text(&esp), text(&entry.path()), "::"]);
        }
        fs::remove_dir_all(tree).expect("the folder is the test's");
        esp
    }

    /// The kernel with the root hash in it. Newer kernels have their PE header there, so one that boots stays
    /// whole.
    fn kernel(&self, to: &Path, root_hash: &str) {
        let mut kernel = fs::read(self.kernel).expect("the kernel is there");
        let place = HASH_IN_KERNEL..HASH_IN_KERNEL + root_hash.len();
        if self.arguments.is_none() {
            kernel[place].copy_from_slice(root_hash.as_bytes());
        }
        fs::write(to, kernel).expect("the folder is the test's");
    }

    fn oem(&self, folder: &Path) -> PathBuf {
        let (file, tree) = (folder.join("oem.img"), folder.join("oem"));
        fs::create_dir_all(tree.join("sysext")).expect("the folder is the test's");
        fs::write(tree.join("grub.cfg"), "# Settings of the platform.\n").expect("the folder is the test's");
        let size = self.sizes.oem * SECTOR;
        File::create(&file).and_then(|file| file.set_len(size)).expect("the folder is the test's");
        let words = ["-q", "--mixed", "-m", "single", "-d", "single", "--label", "OEM", "--rootdir"];
        run("mkfs.btrfs", &[&words[..], &[text(&tree), text(&file)]].concat());
        fs::remove_dir_all(tree).expect("the folder is the test's");
        file
    }

    /// The root as it is shipped: mount points and nothing else.
    fn root(&self, folder: &Path) -> PathBuf {
        let (file, tree) = (folder.join("root.img"), folder.join("root"));
        for name in ["boot", "usr", "oem"] {
            fs::create_dir_all(tree.join(name)).expect("the folder is the test's");
        }
        let size = self.sizes.root * SECTOR;
        File::create(&file).and_then(|file| file.set_len(size)).expect("the folder is the test's");
        let words = ["-q", "-t", "ext4", "-b", "4096", "-i", "4096", "-I", "256", "-m", "1", "-L", "ROOT"];
        let more = ["-e", "remount-ro", "-U", "6b696c6e-0000-4000-8000-000000000009", "-d", text(&tree)];
        run("mke2fs", &[&words[..], &more, &[text(&file)]].concat());
        fs::remove_dir_all(tree).expect("the folder is the test's");
        file
    }

    /// GRUB for BIOS machines: its first sector and, in BIOS-BOOT, the rest, as grub-setup writes them.
    fn bios_loader(&self, folder: &Path, disk: &Path) {
        let core_path = folder.join("core.img");
        grub_image(folder, "i386-pc", &core_path, &["biosdisk", "serial"]);
        let (at, _) = place(&self.sizes, "BIOS-BOOT");
        let mut core = fs::read(core_path).expect("it was made");
        // The block list at the end of its first sector: where the rest is, how long, and where it goes.
        let rest = (core.len() as u64).div_ceil(SECTOR) - 1;
        core[0x1f4..0x1fc].copy_from_slice(&(at / SECTOR + 1).to_le_bytes());
        core[0x1fc..0x1fe].copy_from_slice(&(rest as u16).to_le_bytes());
        let mut boot = fs::read("/usr/lib/grub/i386-pc/boot.img").expect("grub-pc-bin is there");
        boot[0x5c..0x64].copy_from_slice(&(at / SECTOR).to_le_bytes());
        // The firmware says truly which disk it boots.
        boot[0x66..0x68].copy_from_slice(&[0x90, 0x90]);
        let mut file = File::options().write(true).open(disk).expect("it was made");
        let wrote = file.write_all(&boot[..440]).and_then(|()| file.seek(SeekFrom::Start(at)));
        wrote.and_then(|_| file.write_all(&core)).expect("the disk is the test's");
    }
}

fn menu(arguments: &str, root_hash: &str) -> String {
    format!(
        "set timeout=0\nset first_boot=\"\"\n\
         if [ -f \"($root)/flatcar/first_boot\" ]; then set first_boot=\"flatcar.first_boot=detected\"; fi\n\
         menuentry Flatcar --id=flatcar {{\n\
         linux /flatcar/vmlinuz-a mount.usr=/dev/mapper/usr verity.usr=PARTUUID={USR_A} rootflags=rw mount.usrflags=ro \
         consoleblank=0 root=LABEL=ROOT $first_boot verity.usrhash={root_hash} {arguments}\n\
         initrd /flatcar/initrd-a\n}}\n"
    )
}

/// GRUB as one file that finds the menu on the partition with the kernel.
fn grub_image(folder: &Path, format: &str, to: &Path, modules: &[&str]) {
    let early = folder.join("grub-early.cfg");
    let script = "search --no-floppy --file --set=root /flatcar/vmlinuz-a\nset prefix=($root)/flatcar/grub\n\
                  configfile $prefix/grub.cfg\n";
    fs::write(&early, script).expect("the folder is the test's");
    let words = ["-O", format, "-o", text(to), "-c", text(&early), "-p", "/flatcar/grub"];
    let common =
        ["part_gpt", "fat", "normal", "linux", "search", "search_fs_file", "configfile", "test", "echo"];
    run("grub-mkimage", &[&words[..], &common, modules].concat());
}

/// Copies `from` into `to` at a place, without its blocks of zeros.
fn copy_sparse(from: &Path, to: &Path, at: u64) {
    let copy = || -> io::Result<()> {
        let (mut from, mut to) = (File::open(from)?, File::options().write(true).open(to)?);
        to.seek(SeekFrom::Start(at))?;
        let mut block = vec![0; 1 << 16];
        loop {
            match from.read(&mut block)? {
                0 => return Ok(()),
                count if block[..count].iter().all(|byte| *byte == 0) => {
                    to.seek(SeekFrom::Current(count as i64))?;
                }
                count => to.write_all(&block[..count])?,
            }
        }
    };
    copy().expect("the disk is the test's");
}

fn text(path: &Path) -> &str {
    path.to_str().expect("paths of tests are text")
}

/// What a program printed; panics with everything it said if it fails.
fn run(program: &str, words: &[&str]) -> String {
    let output = Command::new(program)
        .args(words)
        .env("LC_ALL", "C.UTF-8")
        .env("SOURCE_DATE_EPOCH", "0")
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("starting {program}: {error}"));
    let (said, wrong) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{program} {words:?}: {said}{wrong}");
    said.into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_disk_has_flatcars_partitions_and_a_verified_usr() {
        if let Some((program, _)) = missing() {
            return crate::not_run("a disk like Flatcar's", &format!("no {program}"));
        }
        let folder = tempfile::tempdir().unwrap();
        let usr = folder.path().join("tree");
        fs::create_dir_all(usr.join("lib")).unwrap();
        fs::write(usr.join("lib/os-release"), "ID=flatcar\n").unwrap();
        let kernel = folder.path().join("kernel");
        fs::write(&kernel, [0; 4096]).unwrap();
        let like = Flatcar {
            sizes: Sizes::SMALL,
            usr: &usr,
            usr_blocks: 6144,
            kernel: &kernel,
            initrd: None,
            arguments: None,
        };
        let disk = like.disk(folder.path(), "disk.bin");
        let table = run("sgdisk", &["--verify", "--print", text(&disk.path)]);
        assert!(table.contains("No problems found"), "{table}");
        for (_, label, ..) in partitions(&Sizes::SMALL) {
            assert!(table.contains(label), "{table}");
        }
        let part = folder.path().join("usr");
        let (at, length) = place(&Sizes::SMALL, "USR-A");
        let mut bytes = Vec::new();
        let mut file = File::open(&disk.path).unwrap();
        file.seek(SeekFrom::Start(at)).unwrap();
        file.take(length).read_to_end(&mut bytes).unwrap();
        fs::write(&part, bytes).unwrap();
        let offset = format!("--hash-offset={}", 6144 * BLOCK);
        run("veritysetup", &["verify", &offset, text(&part), text(&part), &disk.root_hash]);
    }
}
