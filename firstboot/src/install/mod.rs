//! Writes a disk image to a disk of the machine, from a system that lives in memory: `firstboot install`.
//!
//! ```text
//! request ─► opening: image, map ─► choosing: rule, content of each disk ─► stream ─► writing ─► boot_entry
//!                                                                                       └─ node_config
//! ```
//!
//! `progress` tells the operator and, by `report`, a server.

mod boot_entry;
mod choosing;
pub mod content;
pub mod map;
mod node_config;
mod opening;
mod progress;
mod report;
mod request;
pub mod rule;
mod source;
mod stream;
mod writing;

pub use choosing::candidates;
pub use node_config::NodeConfig;
pub use request::{ARGUMENT, Request, Then, Written};

use std::path::PathBuf;

use contract::gpt::Table;
use serde_json::Value;

use self::content::Content;
use self::opening::Opened;
use self::progress::Progress;
use self::writing::Writer;
use crate::error::{ErrorKind, Failure, Result};
use crate::evidence::CommandLine;
use crate::host::disks::Device;
use crate::host::root::Root;

/// Prints a line for the operator.
pub type Say = fn(&str);
/// Prints an object for machines.
pub type Event = fn(&Value);

/// What an installation has to do with the machine.
pub struct Installer<'a> {
    /// The machine's files.
    pub root: &'a Root,
    /// The kernel command line.
    pub line: &'a CommandLine,
    /// Where the node config of the installed system comes from.
    pub config: NodeConfig,
    /// Tells the operator.
    pub say: Say,
    /// Tells a program; none where there is none.
    pub event: Option<Event>,
}

/// What was done, or would be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The name of the image.
    pub image: String,
    /// The disk.
    pub disk: PathBuf,
    /// Whether it is a file that stands for a disk.
    pub is_file: bool,
    /// What it held.
    pub content: Content,
    /// The bytes of the image.
    pub size: u64,
    /// Those of them that hold data.
    pub mapped: u64,
}

impl Installer<'_> {
    /// Says what [`Installer::install`] would do. Changes nothing.
    pub fn plan(&self, request: &Request) -> Result<Plan> {
        let (plan, ..) = self.prepare(request)?;
        self.check_node_config()?;
        Ok(plan)
    }

    /// Does what `request` asks for, and tells the server that it names.
    pub fn install(&self, request: &Request) -> Result<Plan> {
        let mut progress = Progress::begin(self, request.report.as_deref());
        let ended = self.attempt(request, &mut progress);
        progress.end(&ended);
        ended
    }

    fn attempt(&self, request: &Request, progress: &mut Progress<'_>) -> Result<Plan> {
        let (plan, disk, image) = self.prepare(request)?;
        let config = self.node_config()?;
        progress.begin_writing(&plan);
        let (packed, broken) = image.packed.begin(self);
        let mut stream = stream::unpacked(packed, request.image.packing());
        let mut writer = Writer {
            disk: &disk,
            map: &image.map,
            accepts: &|table| config.as_ref().map_or(Ok(()), |_| node_config::var(table).map(drop)),
            progress: &mut |step, done| progress.step(step, done),
        };
        let written = writer.write(&mut stream, &mut |table| self.put(config.as_ref(), &disk, table));
        // What ended the stream says more than what could not be unpacked then.
        let table = written.map_err(|failure| broken.take().unwrap_or(failure))?;
        self.forget_node_config();
        // What is in a file, another machine boots, if any.
        if !plan.is_file {
            self.tell_firmware(&table, &plan.image);
        }
        Ok(plan)
    }

    fn tell_firmware(&self, table: &Table, image: &str) {
        match boot_entry::make(self.root, table, image) {
            Ok(true) => (self.say)("the firmware has a boot entry for it, the first one"),
            Ok(false) => {}
            Err(failure) => (self.say)(&format!(
                "warning: {failure}: the firmware has no boot entry for it, so choose the disk in its menu"
            )),
        }
    }

    /// Everything that is checked before a disk is changed.
    fn prepare(&self, request: &Request) -> Result<(Plan, Device, Opened)> {
        let image = self.open(request)?;
        let chosen = self.choose(request, image.holder.as_deref())?;
        let path = self.root.path(&chosen.disk.path);
        if image.packed.is_at(&path) {
            let message = format!("{} is the image itself", chosen.disk.path.display());
            return Err(Failure::new(ErrorKind::Preflight, message).help("name another disk"));
        }
        let disk = Device::open(&path)?;
        writing::check_sizes(&disk, &image.map)?;
        let plan = Plan {
            image: request.image.name().to_owned(),
            disk: chosen.disk.path,
            is_file: chosen.is_file,
            content: chosen.content,
            size: image.map.size,
            mapped: image.map.mapped(),
        };
        Ok((plan, disk, image))
    }
}
