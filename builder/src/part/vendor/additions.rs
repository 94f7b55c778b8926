//! What is added to a vendor's root.

use crate::assembly::{Image, VendorRelease};
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::layer::read;
use crate::part::extensions::Extension;
use crate::tree::{Body, Entry, Node, Tree, merge};

/// The folders of the vendor's root that are writable and survive a boot.
const WRITABLE: [&str; 3] = ["etc", "opt", "var"];

/// Everything that `image` adds to the root of `release`, with all parent folders.
///
/// # Errors
/// [`ErrorKind::Definition`] if a layer has something that cannot be there.
pub(crate) fn additions(
    image: &Image<'_>,
    release: &VendorRelease,
    extensions: &[Extension],
) -> Result<Tree> {
    let mut tree = layers(image)?;
    for (path, entry) in &tree.entries {
        check(path, entry, release)?;
    }
    for extension in extensions {
        let Extension { name, file_name, path, .. } = extension;
        let file = format!("{}/{name}/{file_name}", release.places.extensions);
        let link = format!("{}/{name}.raw", release.places.links);
        let target = format!("/{file}");
        tree.insert(file, Entry::file(Body::whole(path).at("reading", path)?, 0o644));
        tree.insert(link, Entry::symlink(target));
    }
    tree.complete();
    Ok(tree)
}

/// The layers that are no extensions, as one tree.
fn layers(image: &Image<'_>) -> Result<Tree> {
    let own: Vec<_> = image.plan.layers.iter().filter(|layer| !layer.extension).collect();
    let trees = own
        .iter()
        .map(|layer| read::tree_of(image.layers_above_base(), &layer.name))
        .collect::<Result<Vec<_>>>()?;
    let layers: Vec<merge::Layer<'_>> = own
        .iter()
        .zip(&trees)
        .map(|(layer, tree)| merge::Layer { name: &layer.name, tree, replaces: &layer.replaces })
        .collect();
    let mut tree = merge::merge(&layers)?.tree;
    for layer in &own {
        for unit in &layer.mask {
            tree.insert(format!("etc/systemd/system/{unit}"), Entry::symlink("/dev/null"));
        }
    }
    Ok(tree)
}

fn check(path: &str, entry: &Entry, release: &VendorRelease) -> Result<()> {
    let top = path.split('/').next().unwrap_or(path);
    let refuse = |why: &str| {
        Err(Error::new(ErrorKind::Definition, format!("/{path} cannot be added to {}: {why}", release.title))
            .help("remove extension = false from its layer, so that it becomes a system extension"))
    };
    if !WRITABLE.contains(&top) {
        return refuse("the vendor's system is verified and read-only there");
    }
    let is_file = matches!(entry.node, Node::File(_));
    if top == "etc" && is_file && entry.mode & 0o111 != 0 {
        return refuse("/etc may be mounted without the right to execute");
    }
    Ok(())
}
