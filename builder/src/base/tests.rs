use std::fs;
use std::path::{Path, PathBuf};

use super::*;

/// Words that name a distribution, its releases or its tools.
const WORDS: &[&str] = &[
    "debian",
    "ubuntu",
    "flatcar",
    "fedora",
    "trixie",
    "bookworm",
    "noble",
    "dpkg",
    "mmdebstrap",
    "linux-image",
];

/// Text that is data: the path of the default definition, and formats that are named after a program.
const DATA: &[&str] = &["images/debian-13.toml", "debian-binary"];

#[test]
fn nothing_outside_this_folder_names_a_distribution() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    for path in rust_files(&source) {
        let name = path.strip_prefix(&source).unwrap().display().to_string();
        if name.starts_with("base/") || name.contains("tests") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap().to_lowercase();
        // Unit tests at the end of a file may use any name.
        let product = text.split("#[cfg(test)]").next().unwrap();
        for (number, line) in product.lines().enumerate() {
            let line = DATA.iter().fold(line.to_owned(), |line, data| line.replace(data, ""));
            if WORDS.iter().any(|word| line.contains(word)) {
                found.push(format!("{name}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|end| end == "rs") {
            files.push(path);
        }
    }
    files
}

#[test]
fn every_base_is_found_by_its_name_and_its_options_are_its_own() {
    let mut flags = BTreeSet::new();
    for base in ALL {
        assert_eq!(find(base.name()).unwrap().name(), base.name());
        assert!(base.options().iter().all(|option| flags.insert(option.name)), "{}", base.name());
    }
}
