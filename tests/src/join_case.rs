//! Joins to be tried: a folder of `tests/cases/join` is one case.
//!
//! | file | |
//! |---|---|
//! | `join.yaml`, or `join-1.20.yaml` and `join-1.36.yaml` | the node config; a version without a file of its own and without `join.yaml` leaves the case out |
//! | `expect`, `expect-1.20` | `accepted`, or the class of the refusal: what kubeadm of that version must do, so that a broken lab is noticed |
//! | `prepare.sh` | is run on the machine before |
//! | others | lie beside the config in `/case` |
//!
//! In all of them `@NAME@` stands for what is known only when the control plane runs: see [`Case::place`].

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::workspace;

/// A case for one version.
#[derive(Debug, Clone)]
pub struct Case {
    /// The folder's name; the machine's host name as well.
    pub name: String,
    /// `accepted` or the class of the refusal.
    pub expect: String,
    /// The files for `/case`, by path in it, with their placeholders; `join.yaml` is among them.
    pub files: BTreeMap<String, String>,
}

/// Every case for the Kubernetes version `1.minor`, in the order of their names.
pub fn all(minor: u32) -> Vec<Case> {
    let folder = workspace::root().join("tests/cases/join");
    let mut folders: Vec<PathBuf> = fs::read_dir(folder)
        .expect("the cases lie in the checkout")
        .flatten()
        .map(|entry| entry.path())
        .collect();
    folders.sort();
    folders.iter().filter_map(|folder| load(folder, minor)).collect()
}

fn load(folder: &Path, minor: u32) -> Option<Case> {
    let mut files = BTreeMap::new();
    read(folder, folder, &mut files);
    let specific = |stem: &str, ending: &str| {
        files
            .get(&format!("{stem}-1.{minor}{ending}"))
            .or_else(|| files.get(&format!("{stem}{ending}")))
    };
    let join = specific("join", ".yaml")?.clone();
    let expect = specific("expect", "")
        .unwrap_or_else(|| panic!("{} has no file expect", folder.display()))
        .trim()
        .to_owned();
    files.retain(|name, _| !name.starts_with("join") && !name.starts_with("expect"));
    let api = if minor >= 31 { "v1beta4" } else { "v1beta2" };
    files.insert("join.yaml".to_owned(), join.replace("@API@", api));
    Some(Case { name: folder.file_name()?.to_string_lossy().into_owned(), expect, files })
}

fn read(folder: &Path, top: &Path, files: &mut BTreeMap<String, String>) {
    for path in fs::read_dir(folder)
        .expect("a folder of the checkout")
        .flatten()
        .map(|entry| entry.path())
    {
        if path.is_dir() {
            read(&path, top, files);
        } else {
            let name = path.strip_prefix(top).expect("it lies in it").display().to_string();
            files.insert(name, fs::read_to_string(&path).expect("cases are text"));
        }
    }
}

impl Case {
    /// Whether the join is to succeed.
    pub fn accepted(&self) -> bool {
        self.expect == "accepted"
    }

    /// Writes the files into `folder` with the values of `known` for the placeholders; panics at one that has
    /// none.
    pub fn place(&self, folder: &Path, known: &BTreeMap<String, String>) {
        for (name, text) in &self.files {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().expect("it lies in the folder"))
                .expect("the machine's root is writable");
            let mut text = text.clone();
            for (placeholder, value) in known {
                text = text.replace(&format!("@{placeholder}@"), value);
            }
            let left = text.split('@').nth(1).filter(|word| {
                !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
            });
            assert_eq!(left, None, "case {}, {name}: a placeholder without a value", self.name);
            fs::write(&path, text).expect("the machine's root is writable");
        }
    }
}
