//! Chooses kernel modules for the initrd, by name from the tables below, with their dependencies,
//! decompressed.
//!
//! Formats: modules.dep(5); modules.builtin, modules.alias and modules.softdep as depmod(8) writes them.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::assembly::Packages;
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::kernel_module::normal;
use crate::part::{compression, firmware};
use crate::tree::{Body, Node, Tree};

/// Loaded at every boot; the kernel must have them, as modules or built in.
const ALWAYS: &[&str] = &["loop", "squashfs", "overlay", "ext4"];

/// Loaded at every boot where the kernel has them: the firmware's variables, which name the boot disk.
const OPTIONAL: &[&str] = &["efivarfs"];

/// Loaded when a device needs them; a kernel may lack them. Network cards are left to udev, which runs from
/// the root.
const HARDWARE: &[(&str, &[&str])] = &[
    ("disks of all kinds", &["sd_mod", "nvme", "ahci", "ata_piix"]),
    ("QEMU, KVM and the clouds on it", &["virtio_pci", "virtio_mmio", "virtio_blk", "virtio_scsi"]),
    ("Hyper-V, Azure", &["hv_vmbus", "hv_storvsc", "pci_hyperv"]),
    ("VMware", &["vmw_pvscsi", "mptspi"]),
    ("Xen, older AWS instances", &["xen_blkfront", "xen_scsifront"]),
    (
        "servers",
        &[
            "megaraid_sas",
            "mpt3sas",
            "hpsa",
            "smartpqi",
            "aacraid",
            "mpi3mr",
            "arcmsr",
            "pm80xx",
            "isci",
            "vmd",
            "mmc_block",
            "sdhci_pci",
            "sdhci_acpi",
        ],
    ),
    ("disks in a Fibre Channel network", &["lpfc", "qla2xxx"]),
];

/// Network cards. udev loads their drivers, from the root.
const NETWORK: &[(&str, &[&str])] = &[
    ("QEMU, KVM and the clouds on it", &["virtio_net"]),
    ("Hyper-V, Azure", &["hv_netvsc", "mana", "mlx5_core"]),
    ("VMware", &["vmxnet3"]),
    ("Xen, older AWS instances", &["xen_netfront", "ixgbevf"]),
    ("AWS", &["ena"]),
    ("Google Cloud", &["gve"]),
    (
        "servers",
        &[
            "e1000e",
            "igb",
            "igc",
            "ixgbe",
            "i40e",
            "ice",
            "tg3",
            "bnx2",
            "bnx2x",
            "bnxt_en",
            "mlx4_en",
            "mlx5_core",
            "qede",
            "cxgb4",
            "sfc",
            "be2net",
            "enic",
            "atlantic",
            "r8169",
        ],
    ),
];

/// Where kernels keep their modules.
const MODULES: &str = "usr/lib/modules";

/// The largest module, decompressed, in bytes. The largest storage module has about 1 MiB.
const LARGEST_MODULE: u64 = 64 << 20;

/// A module to load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Load {
    /// Its file name, without folder.
    pub file: String,
    /// Whether the kernel may refuse it, as it does with a module for another processor.
    pub optional: bool,
}

/// The modules of an initrd.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Decompressed modules by file name, without folder.
    pub files: BTreeMap<String, Vec<u8>>,
    /// The modules to load at every boot, in order.
    pub load: Vec<Load>,
    /// Firmware that these modules name, by its path below the folder of firmware.
    pub firmware: BTreeMap<String, Body>,
    /// Device alias and the modules to load for it, in order.
    pub aliases: Vec<(String, Vec<Load>)>,
}

/// The version of the tree's only kernel.
pub fn kernel_version(tree: &Tree, packages: Packages) -> Result<String> {
    let dep = |path: &str| {
        path.strip_prefix(MODULES)?
            .strip_prefix('/')?
            .strip_suffix("/modules.dep")
            .map(str::to_owned)
    };
    let versions: Vec<String> = tree
        .below(MODULES)
        .filter_map(|(path, _)| dep(path))
        .filter(|name| !name.contains('/'))
        .collect();
    match versions.as_slice() {
        [version] => Ok(version.clone()),
        [] => Err(Error::new(
            ErrorKind::Definition,
            format!("the image has no kernel modules: no {MODULES}/VERSION/modules.dep"),
        )
        .help(packages.add_kernel())),
        several => Err(Error::new(
            ErrorKind::Definition,
            format!("the image has several kernels: {}", several.join(", ")),
        )
        .help(packages.keep_one_kernel())),
    }
}

/// Drivers that a kernel lacks.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct MissingDrivers {
    /// The devices that they are for.
    pub devices: &'static str,
    /// The machines that have such devices.
    pub hardware: &'static str,
    /// Their names.
    pub drivers: Vec<&'static str>,
}

/// The drivers that a kernel with these modules lacks, by devices and machines.
pub fn lacking(modules: &BTreeSet<String>) -> Vec<MissingDrivers> {
    let tables = [("disks and controllers", HARDWARE), ("network cards", NETWORK)];
    let rows = tables
        .into_iter()
        .flat_map(|(devices, table)| table.iter().map(move |row| (devices, row)));
    let missing = |(devices, (hardware, names)): (&'static str, &(&'static str, &'static [&'static str]))| {
        let drivers: Vec<_> = names.iter().copied().filter(|name| !modules.contains(*name)).collect();
        (!drivers.is_empty()).then_some(MissingDrivers { devices, hardware, drivers })
    };
    rows.filter_map(missing).collect()
}

/// The names in `text`, a file of modules-load.d(5), that a kernel with these modules lacks.
pub fn not_loadable(text: &str, modules: &BTreeSet<String>) -> Vec<String> {
    let lines = text.lines().map(str::trim);
    let names = lines.filter(|line| !line.is_empty() && !line.starts_with(['#', ';'])).map(normal);
    names.filter(|name| !modules.contains(name)).collect()
}

/// Chooses the modules that the initrd needs.
pub fn select(tree: &Tree, packages: Packages) -> Result<Selection> {
    let index = Index::read(tree, &kernel_version(tree, packages)?, packages)?;
    let mut selection = Selection::default();
    for name in ALWAYS {
        index.always(name, &mut selection)?;
    }
    for name in OPTIONAL.iter().filter(|name| index.dep.contains_key(**name)) {
        let loads = index.loads(name).into_iter();
        selection.load.extend(loads.map(|load| Load { optional: true, ..load }));
    }
    let aliases = index.text(tree, "modules.alias")?;
    for name in HARDWARE
        .iter()
        .flat_map(|(_, names)| *names)
        .filter(|name| index.dep.contains_key(**name))
    {
        let loads = index.loads(name);
        let own = aliases_in(&aliases).filter(|(_, module)| module == name);
        selection.aliases.extend(own.map(|(pattern, _)| (pattern.to_owned(), loads.clone())));
    }
    selection.aliases.retain(|(pattern, _)| !pattern.contains(' '));
    selection.aliases.sort_by(|(one, _), (other, _)| one.cmp(other));
    let for_devices = selection.aliases.iter().flat_map(|(_, loads)| loads);
    let wanted: BTreeSet<String> =
        selection.load.iter().chain(for_devices).map(|load| load.file.clone()).collect();
    for path in index
        .dep
        .values()
        .map(|module| &module.path)
        .filter(|path| wanted.contains(&file_name(path)))
    {
        let module = index.module(tree, path)?;
        firmware::of_module(tree, &module, &mut selection.firmware);
        selection.files.insert(file_name(path), module);
    }
    Ok(selection)
}

/// depmod's files.
struct Index {
    packages: Packages,
    folder: String,
    dep: BTreeMap<String, Module>,
    builtin: BTreeSet<String>,
    /// What should be loaded before a module: names of modules, or of what modules implement.
    before: BTreeMap<String, Vec<String>>,
    /// The modules that implement something, such as `crypto_crc32c`.
    implementations: BTreeMap<String, Vec<String>>,
}

struct Module {
    path: String,
    /// Everything it needs, in the order of loading.
    needs: Vec<String>,
}

impl Index {
    fn read(tree: &Tree, version: &str, packages: Packages) -> Result<Self> {
        let mut index = Self {
            packages,
            folder: format!("{MODULES}/{version}"),
            dep: BTreeMap::new(),
            builtin: BTreeSet::new(),
            before: BTreeMap::new(),
            implementations: BTreeMap::new(),
        };
        index.dep = parse_dep(&index.text(tree, "modules.dep")?);
        index.builtin = index.text(tree, "modules.builtin")?.lines().map(module_name).collect();
        index.before = parse_softdep(&index.text(tree, "modules.softdep")?);
        index.implementations = parse_implementations(&index.text(tree, "modules.alias")?);
        Ok(index)
    }

    fn text(&self, tree: &Tree, name: &str) -> Result<String> {
        let path = format!("{}/{name}", self.folder);
        let missing = || {
            Error::new(ErrorKind::Definition, format!("the image lacks {path}"))
                .help("depmod of package kmod writes it")
        };
        let bytes = tree.file(&path).ok_or_else(missing)?.read().at("reading", &path)?;
        String::from_utf8(bytes)
            .map_err(|_| Error::new(ErrorKind::Verification, format!("{path} is not text")))
    }

    /// Adds a module that must be there.
    fn always(&self, name: &str, selection: &mut Selection) -> Result<()> {
        if self.builtin.contains(name) {
            return Ok(());
        }
        if !self.dep.contains_key(name) {
            return Err(Error::new(
                ErrorKind::Definition,
                format!("the image's kernel has no module {name}: {} does not list it", self.folder),
            )
            .help(self.packages.choose_kernel()));
        }
        for load in self.loads(name) {
            if !selection.load.iter().any(|other| other.file == load.file) {
                selection.load.push(load);
            }
        }
        Ok(())
    }

    /// All modules to load for `name`, in order, itself last. Those that it can do without are optional.
    fn loads(&self, name: &str) -> Vec<Load> {
        let hard = self.hard(name);
        let load = |path: &String| Load { file: file_name(path), optional: !hard.contains(path) };
        self.chain(name, &mut BTreeSet::new()).iter().map(load).collect()
    }

    /// Paths of the modules that `name` needs, itself last.
    fn hard(&self, name: &str) -> Vec<String> {
        self.dep
            .get(name)
            .map(|module| module.needs.iter().chain([&module.path]).cloned().collect())
            .unwrap_or_default()
    }

    /// Paths of all modules to load for `name`, in order, itself last: soft dependencies before hard ones.
    /// `open` ends circles.
    fn chain(&self, name: &str, open: &mut BTreeSet<String>) -> Vec<String> {
        let mut paths: Vec<String> = Vec::new();
        if !open.insert(name.to_owned()) {
            return paths;
        }
        let hard = self.hard(name);
        let soft = hard.iter().filter_map(|path| self.before.get(&module_name(path))).flatten();
        let soft = soft.flat_map(|before| self.modules_called(before));
        let soft: Vec<String> = soft.flat_map(|module| self.chain(module, open)).collect();
        for path in soft.into_iter().chain(hard) {
            if !paths.contains(&path) {
                paths.push(path);
            }
        }
        paths
    }

    /// The module of this name, else the modules that implement it; none if it is built in or absent.
    fn modules_called<'a>(&'a self, name: &'a str) -> Vec<&'a str> {
        if self.dep.contains_key(name) {
            return vec![name];
        }
        self.implementations.get(name).into_iter().flatten().map(String::as_str).collect()
    }

    fn module(&self, tree: &Tree, path: &str) -> Result<Vec<u8>> {
        let path = format!("{}/{path}", self.folder);
        let missing =
            || Error::new(ErrorKind::Definition, format!("the image lacks {path}, which modules.dep lists"));
        let body = match tree.get(&path).map(|entry| &entry.node) {
            Some(Node::File(body)) => body,
            _ => return Err(missing()),
        };
        decompress(&path, &body.read().at("reading", &path)?)
    }
}

fn decompress(path: &str, bytes: &[u8]) -> Result<Vec<u8>> {
    let module = compression::plain(path, bytes, LARGEST_MODULE)?;
    if module.starts_with(b"\x7fELF") && (module.len() as u64) < LARGEST_MODULE {
        return Ok(module);
    }
    Err(Error::new(ErrorKind::Verification, format!("{path} is not a kernel module")))
}

/// modules.dep lists the dependencies of a module nearest first; they are loaded farthest first.
fn parse_dep(text: &str) -> BTreeMap<String, Module> {
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    lines
        .map(|(path, needs)| {
            (
                module_name(path),
                Module {
                    path: path.to_owned(),
                    needs: needs.split_whitespace().rev().map(str::to_owned).collect(),
                },
            )
        })
        .collect()
}

fn parse_softdep(text: &str) -> BTreeMap<String, Vec<String>> {
    let mut before: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        if words.next() != Some("softdep") {
            continue;
        }
        let Some(name) = words.next() else { continue };
        let names = words.skip_while(|word| *word != "pre:").skip(1).take_while(|word| *word != "post:");
        before.entry(normal(name)).or_default().extend(names.map(normal));
    }
    before
}

/// The pairs of an alias and its module in modules.alias.
fn aliases_in(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines().filter_map(|line| line.strip_prefix("alias ")?.rsplit_once(' '))
}

/// The aliases without a colon are names of what a module implements; the others are patterns of devices.
fn parse_implementations(text: &str) -> BTreeMap<String, Vec<String>> {
    let mut implementations: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (alias, module) in aliases_in(text).filter(|(alias, _)| !alias.contains(':')) {
        implementations.entry(normal(alias)).or_default().push(normal(module));
    }
    implementations
}

/// The name of the module in a file: without folder and endings.
fn module_name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    normal(file.split(".ko").next().unwrap_or(file))
}

/// The name of the decompressed file in the initrd.
fn file_name(path: &str) -> String {
    format!("{}.ko", module_name(path))
}

#[cfg(test)]
#[path = "modules_tests.rs"]
mod tests;
