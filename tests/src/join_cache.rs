//! Outcomes of kubeadm are kept outside the checkout: the same program, case and lab have the same outcome,
//! and kubeadm takes its time.

use std::fs;
use std::hash::{DefaultHasher, Hasher};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::join_case::Case;
use crate::join_outcome::Outcome;

/// The files of the lab. Like programs and case, they decide an outcome.
const LAB: &[&str] = &[
    include_str!("../lab/control-plane"),
    include_str!("../lab/node"),
    include_str!("../stand-ins/systemctl"),
    include_str!("../stand-ins/crictl"),
    include_str!("control_plane.rs"),
    include_str!("join_outcome.rs"),
    include_str!("lab_node.rs"),
];

/// The kept outcome of `case` by the programs in `folder`, or that of `run`, which is kept when it is `good`:
/// a lab that failed must not be remembered.
pub fn kept(
    folder: &Path,
    case: &Case,
    run: impl FnOnce() -> Outcome,
    good: impl FnOnce(&Outcome) -> bool,
) -> Outcome {
    let file = file(folder, case);
    let read = fs::read(&file).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    read.unwrap_or_else(|| {
        let outcome = run();
        if !good(&outcome) {
            return outcome;
        }
        fs::create_dir_all(file.parent().expect("it lies in a folder")).expect("the cache is writable");
        // Renamed into place: another test run may read it.
        let new = file.with_extension(std::process::id().to_string());
        fs::write(&new, serde_json::to_vec_pretty(&outcome).expect("an outcome is plain data"))
            .expect("the cache is writable");
        fs::rename(&new, &file).expect("the cache is writable");
        outcome
    })
}

fn file(folder: &Path, case: &Case) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    hasher.write_u64(programs(folder));
    LAB.iter().for_each(|text| hasher.write(text.as_bytes()));
    for (name, text) in &case.files {
        hasher.write(name.as_bytes());
        hasher.write(text.as_bytes());
    }
    cache().join("joins").join(format!("{}-{:016x}.json", case.name, hasher.finish()))
}

/// A hash of kubeadm and the kubelet; read once, they are large.
fn programs(folder: &Path) -> u64 {
    static KNOWN: OnceLock<std::sync::Mutex<Vec<(PathBuf, u64)>>> = OnceLock::new();
    let mut known = KNOWN
        .get_or_init(Default::default)
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some((_, hash)) = known.iter().find(|(of, _)| of == folder) {
        return *hash;
    }
    let mut hasher = DefaultHasher::new();
    for program in ["kubeadm", "kubelet"] {
        hasher.write(&fs::read(folder.join(program)).expect("the programs are there"));
    }
    known.push((folder.to_owned(), hasher.finish()));
    hasher.finish()
}

/// The lab's cache, as `tests/lab/common.sh` finds it.
fn cache() -> PathBuf {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = || variable("HOME").unwrap_or_else(|| "/root".into()).join(".cache");
    variable("KILN_LAB_CACHE")
        .unwrap_or_else(|| variable("XDG_CACHE_HOME").unwrap_or_else(home).join("kiln-lab"))
}
