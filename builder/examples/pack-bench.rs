//! Packs a folder as a compressed layer, as a build does, but from a folder and into a file, so that it can
//! be timed beside `tar | zstd`, mksquashfs and mkfs.erofs.
//!
//! ```text
//! pack-bench FOLDER OUT.tar.zst [THREADS]
//! ```

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use kiln::determinism::DEFAULT_EPOCH;
use kiln::digest::DigestWriter;
use kiln::error::{Error, ErrorKind, IoContext, Result};
use kiln::layer::compress::zstd_encoder;
use kiln::layer::tee::digest_while_writing;
use kiln::layer::write::write_tar;
use kiln::tree::{Body, Entry, Tree};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (folder, out, threads) = match arguments.as_slice() {
        [folder, out] => (folder, out, 0),
        [folder, out, threads] => (folder, out, threads.parse().unwrap_or(0)),
        _ => {
            return Err(Error::new(ErrorKind::Usage, "two or three arguments are needed")
                .help("pack-bench FOLDER OUT.tar.zst [THREADS]"));
        }
    };
    let threads =
        if threads == 0 { std::thread::available_parallelism().map_or(1, usize::from) } else { threads };
    let start = Instant::now();
    let mut tree = Tree::default();
    walk(Path::new(folder), "", &mut tree)?;
    let file = DigestWriter::new(File::create(out).at("creating", out)?);
    let encoder = zstd_encoder(file, threads).at("writing", out)?;
    let (encoder, diff_id, size) = digest_while_writing(encoder, |tee| write_tar(&tree, DEFAULT_EPOCH, tee))?;
    let (_, digest, packed) = encoder.finish().at("writing", out)?.finish();
    println!(
        "{} entries, {size} bytes to {packed} in {:.3} s",
        tree.entries.len(),
        start.elapsed().as_secs_f64()
    );
    println!("diffID {diff_id}\ndigest {digest}");
    Ok(())
}

/// Adds everything below `folder`. Owners are left out: they are root's in a layer.
fn walk(folder: &Path, prefix: &str, tree: &mut Tree) -> Result<()> {
    for entry in fs::read_dir(folder).at("reading", folder)? {
        let entry = entry.at("reading", folder)?;
        let path = entry.path();
        let Ok(name) = entry.file_name().into_string() else { continue };
        let inside = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
        let metadata = entry.metadata().at("reading", &path)?;
        let mode = metadata.mode() & 0o7777;
        if metadata.is_dir() {
            walk(&path, &inside, tree)?;
            tree.insert(inside, Entry::directory(mode));
        } else if metadata.is_symlink() {
            let target = fs::read_link(&path).at("reading", &path)?;
            tree.insert(inside, Entry::symlink(target.to_string_lossy()));
        } else if metadata.is_file() {
            let body = Body::Slice { file: Arc::from(path), offset: 0, len: metadata.len() };
            tree.insert(inside, Entry::file(body, mode));
        }
    }
    Ok(())
}
