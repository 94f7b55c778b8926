//! Loads kernel modules: those that every boot needs, and those for the machine's hardware.

use crate::paths;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;

use nix::kmod::{ModuleInitFlags, finit_module};

use super::{console, glob};
use contract;

/// Whether the initrd's files are going away. A module's file is opened only while this is locked.
static ENDED: Mutex<bool> = Mutex::new(false);

/// Ends all loading: what is open is still loaded, the rest is udev's work in the real root.
pub fn end() {
    *ENDED.lock().unwrap_or_else(PoisonError::into_inner) = true;
}

/// The file of a module; none once loading has ended.
fn open(path: &str, ended: &Mutex<bool>) -> std::io::Result<Option<File>> {
    let ended = ended.lock().unwrap_or_else(PoisonError::into_inner);
    if *ended { Ok(None) } else { File::open(path).map(Some) }
}

/// Loads the modules of the list in order.
pub fn load_list() {
    let list = fs::read_to_string(contract::INITRD_MODULE_LIST).unwrap_or_default();
    for (path, optional) in parse_list(&list) {
        load(path, optional);
    }
}

/// Modules by device alias.
#[derive(Debug, Default)]
pub struct Hardware {
    aliases: Vec<(String, Vec<String>)>,
    seen: BTreeSet<String>,
    started: BTreeSet<Vec<String>>,
    loaders: Vec<JoinHandle<()>>,
}

impl Hardware {
    /// Reads the list of aliases in the initrd.
    pub fn read() -> Self {
        Self {
            aliases: parse_aliases(&fs::read_to_string(contract::INITRD_MODULE_ALIASES).unwrap_or_default()),
            ..Self::default()
        }
    }

    /// Starts to load the modules of all new devices. Each driver has its own thread, because a slow driver
    /// (SATA takes half a second to find an empty port) must not delay the one that finds the disk.
    pub fn load(&mut self) {
        for device in device_aliases() {
            if !self.seen.insert(device.clone()) {
                continue;
            }
            for paths in modules_for(&self.aliases, &device) {
                if self.started.insert(paths.clone()) {
                    let paths = paths.clone();
                    self.loaders.push(std::thread::spawn(move || {
                        paths.iter().for_each(|word| load_for_device(word))
                    }));
                }
            }
        }
    }

    /// Whether a driver is still searching for its devices.
    pub fn is_busy(&self) -> bool {
        self.loaders.iter().any(|loader| !loader.is_finished())
    }
}

fn modules_for<'a>(
    aliases: &'a [(String, Vec<String>)],
    device: &str,
) -> impl Iterator<Item = &'a Vec<String>> {
    aliases
        .iter()
        .filter(move |(pattern, _)| glob::matches(pattern, device))
        .map(|(_, paths)| paths)
}

/// The aliases of all devices of all buses.
fn device_aliases() -> Vec<String> {
    let buses = fs::read_dir(paths::BUSES).into_iter().flatten().flatten();
    let devices =
        buses.flat_map(|bus| fs::read_dir(bus.path().join("devices")).into_iter().flatten().flatten());
    let mut aliases: Vec<String> = devices
        .filter_map(|device| {
            Some(fs::read_to_string(device.path().join("modalias")).ok()?.trim_end().to_owned())
        })
        .collect();
    aliases.sort();
    aliases
}

/// Loads a module of the list of aliases, where `-` marks one that may fail.
fn load_for_device(word: &str) {
    match word.strip_prefix('-') {
        Some(path) => load(path, true),
        None => load(word, false),
    }
}

fn load(path: &str, optional: bool) {
    let loaded = open(path, &ENDED).map_err(|error| error.to_string()).and_then(|file| {
        let Some(file) = file else { return Ok(()) };
        finit_module(&file, c"", ModuleInitFlags::empty())
            .or_else(already)
            .map_err(|error| error.desc().to_owned())
    });
    if let (Err(error), false) = (loaded, optional) {
        console::warn(&format!("kernel module {path} was not loaded: {error}"));
    }
}

fn already(error: nix::Error) -> nix::Result<()> {
    if error == nix::Error::EEXIST { Ok(()) } else { Err(error) }
}

fn parse_list(list: &str) -> impl Iterator<Item = (&str, bool)> {
    list.lines()
        .filter(|line| !line.is_empty())
        .map(|line| match line.strip_suffix(" optional") {
            Some(path) => (path, true),
            None => (line, false),
        })
}

fn parse_aliases(text: &str) -> Vec<(String, Vec<String>)> {
    let lines = text.lines().map(|line| line.split(' ').map(str::to_owned));
    lines
        .filter_map(|mut words| Some((words.next()?, words.collect::<Vec<_>>())))
        .filter(|(_, paths)| !paths.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_file_is_opened_once_loading_has_ended() {
        let ended = Mutex::new(false);
        assert!(open("/no/such.ko", &ended).is_err());
        *ended.lock().unwrap() = true;
        assert!(open("/no/such.ko", &ended).unwrap().is_none());
    }

    #[test]
    fn reads_the_list() {
        let list = "/a.ko\n\n/b.ko optional\n";
        assert_eq!(parse_list(list).collect::<Vec<_>>(), [("/a.ko", false), ("/b.ko", true)]);
    }

    #[test]
    fn finds_what_a_device_needs_in_order() {
        let aliases = parse_aliases(
            "virtio:d00000002v* /virtio_blk.ko\nvirtio:d00000008v* /scsi_mod.ko /virtio_scsi.ko\nalone\n\n",
        );
        assert_eq!(
            modules_for(&aliases, "virtio:d00000008v00001AF4").collect::<Vec<_>>(),
            [&["/scsi_mod.ko", "/virtio_scsi.ko"]]
        );
        assert_eq!(modules_for(&aliases, "pci:v1").count(), 0);
        assert_eq!(aliases.len(), 2);
    }
}
