//! Lists `platforms/*.toml`, so that a new platform is one new file.

use std::path::Path;
use std::{env, fs};

fn main() {
    let folder = Path::new(&env::var("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("platforms");
    println!("cargo::rerun-if-changed={}", folder.display());
    let entries = fs::read_dir(&folder).expect("the folder of platforms can be read");
    let mut files: Vec<_> =
        entries.map(|entry| entry.expect("the folder of platforms can be read").path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    let rows = files.iter().map(|file| {
        let name = file.file_stem().unwrap_or_default().to_string_lossy();
        format!("({name:?}, include_str!({:?})),\n", file.to_string_lossy())
    });
    let table = format!("&[\n{}]", rows.collect::<String>());
    fs::write(Path::new(&env::var("OUT_DIR").expect("cargo sets it")).join("platforms.rs"), table)
        .expect("cargo's folder can be written");
}
