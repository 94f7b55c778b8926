//! Names of the kernel's modules.

/// The name under which the kernel knows the module in the file at `path`; `None` for other files.
pub fn in_file(path: &str) -> Option<String> {
    let file = path.rsplit('/').next()?;
    let (name, compression) = file.split_once(".ko")?;
    ["", ".gz", ".xz", ".zst"].contains(&compression).then(|| normal(name))
}

/// The kernel makes no difference between `-` and `_` in names.
pub fn normal(name: &str) -> String {
    name.replace('-', "_")
}
