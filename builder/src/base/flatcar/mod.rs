//! Flatcar: its disk stays as it is, and layers become system extensions beside it.
//!
//! ```text
//! lock: channel ─► version ─► digests, signed by Flatcar's key ─► files ─► the version inside the disk
//! ```
//!
//! A signed list of digests does not say for which release it is: its files have the same names in all of
//! them. So a server could give an older release than the one that was asked for. The disk itself says which
//! it is, and that is compared.

mod inside;

use std::path::Path;

pub use inside::find as find_in_initrd;

use super::options::variable;
use super::vendor::{LockedVendor, VendorFile};
use super::{Base, BaseOption, BaseRequest, Content, Context, Job, LockedBase, Mirrored};
use crate::address;
use crate::assembly::{Part, VendorPlaces, VendorRelease};
use crate::definition::plan::{Arch, BasePlan, Form, VendorPlan};
use crate::error::{Error, ErrorKind, Result};
use crate::fetch::{LARGEST_CHECKSUM_FILE, Request};
use crate::signature::{self, Keys, LARGEST_KEYS};

/// Flatcar Container Linux.
pub const FLATCAR: Flatcar = Flatcar {
    // "Flatcar Buildbot (Official Builds)". Its subkeys change every few years.
    primary_keys: &["F88CFEDEFF29A5B4D9523864E25D9AED0593B34A"],
    keys: "https://www.flatcar.org/security/image-signing-key/Flatcar_Image_Signing_Key.asc",
};

/// A publisher of Flatcar's releases.
#[derive(Debug)]
pub struct Flatcar {
    /// Fingerprints of the primary keys whose signatures count.
    primary_keys: &'static [&'static str],
    /// Where the keys are, if the user names no file.
    keys: &'static str,
}

const NAME: &str = "flatcar";

/// Where Flatcar takes what is added to it, the same in all releases from the LTS 4081 to 4790.
///
/// Extensions are where Flatcar's own tools and systemd-sysupdate put them. `/etc/extensions` is on the root
/// partition in every layout: before 4628 systemd-sysext runs after the switch to the root, since then in the
/// initrd, where `/etc` and `/opt` of the root are there and a `/var` of its own would not be.
pub(crate) const PLACES: VendorPlaces = VendorPlaces {
    partitions: &[
        "c12a7328-f81f-11d2-ba4b-00a0c93ec93b",
        "5dfbf5f4-2848-4bac-aa5e-0d9a20b745a6",
        "3884dd41-8582-4404-b9a8-e9b84f2df50e",
    ],
    root: "3884dd41-8582-4404-b9a8-e9b84f2df50e",
    extensions: "opt/extensions",
    links: "etc/extensions",
    carried: "usr/share/oem",
    carried_to: "/oem",
    ignition: "base/base.ign",
    arguments: &["flatcar.first_boot=1"],
};

/// From the newest to the one with the longest support.
const CHANNELS: &[&str] = &["alpha", "beta", "stable", "lts"];

const MIRROR: &str = "flatcar-mirror";
const MIRROR_VARIABLE: &str = "KILN_FLATCAR_MIRROR";
const KEY: &str = "flatcar-key";

/// The files of each form.
const fn files(form: Form) -> &'static [&'static str] {
    match form {
        Form::Disk => &["flatcar_production_image.bin.bz2"],
        Form::Network => &["flatcar_production_pxe.vmlinuz", "flatcar_production_pxe_image.cpio.gz"],
    }
}

impl Base for Flatcar {
    fn name(&self) -> &'static str {
        NAME
    }

    fn channels(&self) -> &'static [&'static str] {
        CHANNELS
    }

    fn gives(&self) -> &'static [Part] {
        Part::OF_A_VENDOR
    }

    fn options(&self) -> &'static [BaseOption] {
        &[
            BaseOption {
                name: MIRROR,
                value: "URL",
                help: "Flatcar's releases, with a folder for each channel \
                       [default: $KILN_FLATCAR_MIRROR, else https://CHANNEL.release.flatcar-linux.net]",
            },
            BaseOption {
                name: KEY,
                value: "FILE",
                help: "Keys that may sign releases [default: Flatcar's, whose primary key is known]",
            },
        ]
    }

    fn lock(&self, request: &BaseRequest<'_>, context: &Context<'_>) -> Result<LockedBase> {
        let plan = vendor_of(request.plan)?;
        let scratch = context.store.scratch()?;
        let server = server(plan, request.arch, context)?;
        let version = match &plan.version {
            Some(version) => version.clone(),
            None => newest(&server, context)?,
        };
        let keys = self.keys(context)?;
        // All keys count in a file that the user names.
        let pinned = context.options.get(KEY).map_or(self.primary_keys, |_| &[]);
        let keys = Keys::new(&keys, pinned, scratch.path())?;
        let folder = format!("{server}/{version}");
        let mut locked = LockedVendor {
            distribution: NAME.to_owned(),
            channel: plan.channel.clone(),
            version,
            files: Vec::new(),
        };
        for form in &plan.forms {
            for name in files(*form) {
                locked.files.push(pin(name, *form, &folder, &keys, context)?);
            }
        }
        self.check_inside(&locked, request.arch, scratch.path(), context)?;
        Ok(LockedBase::Vendor(locked))
    }

    fn requests(&self, plan: &BasePlan, locked: &LockedBase, context: &Context<'_>) -> Result<Vec<Request>> {
        let (plan, locked) = (vendor_of(plan)?, locked_of(locked)?);
        // The board is not in the lock: both have files of the same names, and the digest decides.
        let servers = [Arch::Amd64, Arch::Arm64]
            .into_iter()
            .map(|arch| server(plan, arch, context))
            .collect::<Result<Vec<_>>>()?;
        let wanted = locked.files.iter().filter(|file| plan.forms.contains(&file.form));
        let request = |file: &VendorFile| Request {
            title: format!("{} {}", file.name, locked.version),
            urls: servers
                .iter()
                .map(|server| format!("{server}/{}/{}", locked.version, file.name))
                .collect(),
            kept: Vec::new(),
            digest: file.sha256,
            size: Some(file.size),
            absent: None,
        };
        Ok(wanted.map(request).collect())
    }

    fn mirrored(&self, plan: &BasePlan, arch: Arch, locked: &LockedBase) -> Result<Mirrored> {
        let (plan, locked) = (vendor_of(plan)?, locked_of(locked)?);
        let folder = format!("{}/{}/{}", own_server(plan), board(arch), locked.version);
        let wanted = locked.files.iter().filter(|file| plan.forms.contains(&file.form));
        Mirrored::at_addresses(wanted.map(|file| (format!("{folder}/{}", file.name), &file.sha256)))
    }

    fn assemble(&self, locked: &LockedBase, job: &Job<'_>) -> Result<Content> {
        job.layers.begin();
        let (plan, locked) = (vendor_of(job.plan)?, locked_of(locked)?);
        let paths = |form: Form| {
            let wanted = locked.of(form).filter(|_| plan.forms.contains(&form));
            wanted.map(|file| job.store.verified(&file.sha256)).collect::<Result<Vec<_>>>()
        };
        let (disk, network) = (paths(Form::Disk)?, paths(Form::Network)?);
        let network = match network.as_slice() {
            [kernel, initrd] => Some((kernel.clone(), initrd.clone())),
            _ => None,
        };
        let title = format!("{NAME} {}", locked.version);
        Ok(Content::Vendor(VendorRelease { title, disk: disk.into_iter().next(), network, places: &PLACES }))
    }
}

impl Flatcar {
    /// Flatcar's public keys. Who gives them does not matter: their primary key is pinned.
    fn keys(&self, context: &Context<'_>) -> Result<Vec<u8>> {
        match context.options.get(KEY) {
            Some(file) => signature::read_keys(Path::new(file)),
            None => Ok(context.fetcher.signed_document(self.keys, LARGEST_KEYS)?.bytes),
        }
    }

    /// Compares the release that the files are of with the one that was asked for.
    fn check_inside(
        &self,
        locked: &LockedVendor,
        arch: Arch,
        scratch: &Path,
        context: &Context<'_>,
    ) -> Result<()> {
        for form in [Form::Disk, Form::Network] {
            // The last file of each form has the system in it.
            let Some(file) = locked.of(form).last() else { continue };
            let _step = context.progress.step(&format!("looking into {}", file.name));
            let path = context.store.verified(&file.sha256)?;
            let found = match form {
                Form::Disk => inside::of_disk(&path, scratch),
                Form::Network => inside::of_initrd(&path, scratch),
            };
            let found = found.map_err(|error| error.context(&file.name))?;
            inside::check(&found, &locked.version, board(arch)).map_err(|error| error.context(&file.name))?;
        }
        Ok(())
    }
}

/// Flatcar's name of an architecture.
const fn board(arch: Arch) -> &'static str {
    match arch {
        Arch::Amd64 => "amd64-usr",
        Arch::Arm64 => "arm64-usr",
    }
}

/// Flatcar's own server of a channel.
fn own_server(plan: &VendorPlan) -> String {
    format!("https://{}.release.flatcar-linux.net", plan.channel)
}

/// The address of the folder with all releases of a channel.
fn server(plan: &VendorPlan, arch: Arch, context: &Context<'_>) -> Result<String> {
    let mirror = context.options.get(MIRROR).map(str::to_owned).or_else(|| variable(MIRROR_VARIABLE));
    let root = match mirror {
        None => own_server(plan),
        Some(mirror) if mirror.contains("://") => {
            format!("{}/{}", mirror.trim_end_matches('/'), plan.channel)
        }
        Some(mirror) => {
            let folder = Path::new(&mirror).join(&plan.channel);
            address::of_path(&folder).ok_or_else(|| {
                Error::new(ErrorKind::Usage, format!("{mirror} is no folder of a mirror"))
                    .help(format!("name an address or an absolute path with --{MIRROR}"))
            })?
        }
    };
    Ok(format!("{root}/{}", board(arch)))
}

/// The newest release of a channel (`version.txt`).
fn newest(server: &str, context: &Context<'_>) -> Result<String> {
    let address = format!("{server}/current/version.txt");
    let text = context.fetcher.document(&address, LARGEST_CHECKSUM_FILE)?.bytes;
    let text = String::from_utf8_lossy(&text);
    let version = text.lines().find_map(|line| line.trim().strip_prefix("FLATCAR_VERSION="));
    let plain = |version: &&str| {
        !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
    };
    version.filter(plain).map(str::to_owned).ok_or_else(|| {
        Error::new(ErrorKind::Verification, format!("{address} names no release"))
            .help("set version in the definition's [base]")
    })
}

/// A file of a release, pinned by its signed digest.
fn pin(name: &str, form: Form, folder: &str, keys: &Keys<'_>, context: &Context<'_>) -> Result<VendorFile> {
    let url = format!("{folder}/{name}");
    let list_address = format!("{url}.DIGESTS.asc");
    let list = context.fetcher.signed_document(&list_address, LARGEST_CHECKSUM_FILE)?.bytes;
    let list = keys.signed_text(&list).map_err(|error| error.context(&list_address))?;
    let (sha256, size) = context.fetcher.listed(name, &url, &list, &list_address)?;
    let size =
        size.ok_or_else(|| Error::new(ErrorKind::Internal, "the length of a fetched file is known"))?;
    Ok(VendorFile { name: name.to_owned(), form, size, sha256 })
}

fn vendor_of(plan: &BasePlan) -> Result<&VendorPlan> {
    match plan {
        BasePlan::Vendor(plan) => Ok(plan),
        _ => Err(Error::new(ErrorKind::Internal, "this base is no vendor's disk")),
    }
}

fn locked_of(locked: &LockedBase) -> Result<&LockedVendor> {
    match locked {
        LockedBase::Vendor(locked) => Ok(locked),
        _ => Err(Error::new(ErrorKind::Internal, "the lock has no vendor's release")),
    }
}
