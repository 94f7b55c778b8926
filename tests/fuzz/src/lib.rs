//! What the targets share: files that cost nothing to write, the checkout's own definitions, and what must
//! hold of whatever carries a node config.

use std::fs;
use std::path::{Path, PathBuf};

use firstboot::error::Result;
use firstboot::instance_data::{Found, Step, walk};
use firstboot::userdata::bounds::Budget;
use firstboot::userdata::embedded::HostConfig;
use tempfile::TempDir;

/// The token in the seeds.
pub const TOKEN: &str = "canary.canarycanarycana";

/// A folder in memory where there is one: each input is written to a file there.
pub fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    TempDir::with_prefix_in("kiln-fuzz-", parent).expect("the folder is writable")
}

/// The path of a file or folder of the checkout.
pub fn checkout(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// Writes a file, and the folders above it.
pub fn write(path: &Path, bytes: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().expect("a path in a folder")).expect("the folder is writable");
    fs::write(path, bytes).expect("the folder is writable");
}

/// Half of all names have a value, some of them a list or a mapping.
pub fn names(root: &str, steps: &[Step]) -> Result<Found> {
    let known = serde_json::json!({"ds": {"meta_data": {"a-b": "value.x", "c": [1, {"d": true}], "e": null}}, "v1": {"region": ""}});
    Ok(walk(&known, &[&[Step::Item(root.to_owned())], steps].concat()))
}

/// What `bytes`, read by `read`, carry is within its bounds, and nothing that is said of it shows a token.
pub fn assert_carrier(read: fn(&[u8], &Budget) -> Result<HostConfig>, bytes: &[u8]) {
    let budget = Budget::default();
    let lookup = |name: &str| name.len().is_multiple_of(2).then(|| "value".to_owned());
    let found = read(bytes, &budget).and_then(|mut carrier| {
        let carried = carrier.find(&lookup, &budget)?;
        assert!(!carrier.notices.join(" ").contains(TOKEN));
        Ok(carried)
    });
    match found {
        Ok(Some(carried)) => {
            assert!(carried.document.is_some() || carried.flags.is_some());
            assert!(carried.files.iter().all(|file| file.path.starts_with('/')
                && !file.path.contains("/../")
                && file.mode <= 0o7777));
            assert!(
                carried.sentinel.is_none_or(
                    |path| path.starts_with("/run/cluster-api/bootstrap") && !path.contains("/..")
                )
            );
            assert!(!format!("{:?}{:?}", carried.document, carried.files).contains(TOKEN));
        }
        Ok(None) => {}
        Err(failure) => assert!(!failure.message.is_empty() && !format!("{failure:?}").contains(TOKEN)),
    }
}
