//! One root file system of Debian's packages, as vendors hand it out: a tar, a squashfs, an OCI layout, a
//! disk raw and as qcow2, each made by other programs than Kiln. All give the same layer to the last bit.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use kiln::base::{self, BaseRequest, Content, Context, Job, Options};
use kiln::digest::Digest;
use kiln::error::Result;
use kiln::fetch::{self, Fetcher};
use kiln::layer::{PackedLayer, read::read_tree};
use kiln::process::{Run, tool};
use kiln::progress::Progress;
use kiln::registry;
use kiln::store::Store;
use tempfile::TempDir;

#[path = "rootfs/place.rs"]
mod place;
#[path = "rootfs/preload.rs"]
mod preload;
#[path = "rootfs/registry.rs"]
mod in_a_registry;
#[path = "rootfs/signed.rs"]
mod signed;

const EPOCH: u64 = 1_577_836_800;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/images/lookalike_vendor_root");

/// The vendor's files, made once.
fn vendor(test: &str) -> Option<PathBuf> {
    let programs =
        ["mmdebstrap", "mksquashfs", "sqfs2tar", "umoci", "sgdisk", "mke2fs", "qemu-img", "setcap"];
    let missing = programs.into_iter().find(|program| tool("which").arg(program).run("").is_err());
    let why = match missing {
        Some(program) => format!("no {program}"),
        None if !nix::unistd::geteuid().is_root() => "it needs root".to_owned(),
        None => {
            let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("lookalike-vendor-root");
            tool(SCRIPT).arg(&folder).run("bash").unwrap();
            return Some(folder);
        }
    };
    testkit::not_run(test, &why);
    None
}

/// Locks and assembles a base of `rootfs`, from an empty store.
fn layer(rootfs: &Path) -> Result<(TempDir, PackedLayer)> {
    let folder = TempDir::new().unwrap();
    let runtime = folder.path().join("runtime");
    fs::create_dir(&runtime).unwrap();
    fs::write(runtime.join("layer.toml"), "schema = 1\nsummary = 'x'\nprovides = ['container-runtime']\n")
        .unwrap();
    let definition = folder.path().join("x.toml");
    let text = format!(
        "schema = 1\nname = 'x'\narch = 'amd64'\nkubernetes = '1.36.4'\nruntime = 'runtime'\nlayers = ['./runtime']\n\
         outputs = ['raw']\n[base]\nrootfs = '{}'\n",
        rootfs.display()
    );
    fs::write(&definition, text).unwrap();
    let plan = registry::load(&definition, &[], None)?.plan;
    let (store, progress) = (Store::open(&folder.path().join("store"))?, Progress::silent());
    let fetcher = Fetcher::new(&store, fetch::Options::default(), &progress)?;
    let options = Options::default();
    let context = Context { options: &options, store: &store, fetcher: &fetcher, progress: &progress };
    let base = base::of(&plan.base)?;
    let locked = base.lock(&BaseRequest::of(&plan), &context)?;
    fetcher.fetch_all(&base.requests(&plan.base, &locked, &context)?)?;
    let scratch = folder.path().join("scratch");
    fs::create_dir(&scratch).unwrap();
    let (layers, _start) = kiln::threads::starter();
    let job = Job {
        plan: &plan.base,
        arch: plan.arch,
        epoch: EPOCH,
        store: &store,
        scratch: &scratch,
        progress: &progress,
        layers: &layers,
    };
    let Content::Layer(packed) = base.assemble(&locked, &job)? else { panic!("a vendor's disk") };
    Ok((folder, packed))
}

#[test]
#[ignore = "slow: make test-long runs it"]
fn lookalike_vendors_files_give_one_layer_whatever_holds_the_root() {
    let test = "lookalike_vendors_files_give_one_layer_whatever_holds_the_root";
    let Some(vendor) = vendor(test) else { return };
    let mut layers: BTreeMap<&str, Digest> = BTreeMap::new();
    for name in ["root.tar", "root.squashfs", "oci", "disk.raw", "disk.qcow2"] {
        let (_folder, packed) = layer(&vendor.join(name)).unwrap();
        layers.insert(name, packed.diff_id);
    }
    let (_folder, again) = layer(&vendor.join("disk.qcow2")).unwrap();
    assert!(layers.values().all(|layer| *layer == again.diff_id), "{layers:#?}");

    let tree = read_tree(&again.tar).unwrap();
    for gone in ["etc/fstab", "etc/ssh/ssh_host_ed25519_key", "var/lib/cloud/instance", "boot/grub"] {
        assert!(tree.get(gone).is_none(), "{gone}");
    }
    assert!(!tree.below("boot").any(|(path, _)| path.starts_with("boot/initrd")));
    assert!(tree.below("boot").any(|(path, _)| path.starts_with("boot/vmlinuz-")), "no kernel");
    assert!(tree.file("etc/machine-id").unwrap().is_empty());
    assert!(tree.get("usr/bin/ping").unwrap().xattrs.contains_key("security.capability"));
}
