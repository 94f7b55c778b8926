//! A vendor's initrd with additions for a boot from the network: an archive that is appended to it. Its root
//! is made in memory at each boot, by Ignition; so the additions are in a folder that the vendor's initrd
//! copies into that root, with a configuration for Ignition that puts them into their places. A user's own
//! configuration is merged over it.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use crate::assembly::VendorRelease;
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::tree::{Body, Entry, Node, Tree};

/// Larger files are linked, smaller ones are in the configuration.
const INLINE: u64 = 32 << 10;

/// The oldest version of the format that every release reads.
const VERSION: &str = "3.0.0";

/// A configuration of Ignition (<https://coreos.github.io/ignition/configuration-v3_0/>).
#[derive(Serialize)]
struct Config {
    ignition: BTreeMap<&'static str, &'static str>,
    storage: Storage,
}

#[derive(Default, Serialize)]
struct Storage {
    directories: Vec<Directory>,
    files: Vec<File>,
    links: Vec<Link>,
}

#[derive(Serialize)]
struct Directory {
    path: String,
    mode: u32,
    user: Owner,
    group: Owner,
}

#[derive(Serialize)]
struct File {
    path: String,
    overwrite: bool,
    contents: BTreeMap<&'static str, String>,
    mode: u32,
    user: Owner,
    group: Owner,
}

#[derive(Serialize)]
struct Link {
    path: String,
    overwrite: bool,
    target: String,
}

#[derive(Serialize)]
struct Owner {
    id: u32,
}

/// The entries of the archive that brings `additions`.
///
/// # Errors
/// [`ErrorKind::Io`].
pub(crate) fn archive(release: &VendorRelease, additions: &Tree) -> Result<Tree> {
    let places = &release.places;
    let (mut archive, mut storage) = (Tree::default(), Storage::default());
    for (path, entry) in &additions.entries {
        let at = format!("/{path}");
        let (user, group) = (Owner { id: entry.uid }, Owner { id: entry.gid });
        match &entry.node {
            // The host's own folders keep their modes.
            Node::Directory if !path.contains('/') => {}
            Node::Directory => {
                storage.directories.push(Directory { path: at, mode: entry.mode, user, group });
            }
            Node::Symlink(target) => {
                storage.links.push(Link { path: at, overwrite: true, target: target.clone() });
            }
            Node::File(body) if body.len() <= INLINE => {
                let source = data_url(&body.read().at("reading", path)?);
                let contents = BTreeMap::from([("source", source)]);
                storage.files.push(File {
                    path: at,
                    overwrite: true,
                    contents,
                    mode: entry.mode,
                    user,
                    group,
                });
            }
            Node::File(_) => {
                let carried = format!("kiln/{path}");
                let target = format!("{}/{carried}", places.carried_to);
                storage.links.push(Link { path: at, overwrite: true, target });
                archive.insert(format!("{}/{carried}", places.carried), entry.clone());
            }
        }
    }
    let config = Config { ignition: BTreeMap::from([("version", VERSION)]), storage };
    let json = serde_json::to_vec(&config)
        .map_err(|error| Error::new(ErrorKind::Internal, format!("writing for Ignition: {error}")))?;
    let path = format!("{}/{}", places.carried, places.ignition);
    archive.insert(path, Entry::file(Body::inline(json), 0o644));
    archive.complete();
    Ok(archive)
}

fn data_url(bytes: &[u8]) -> String {
    format!("data:;base64,{}", STANDARD.encode(bytes))
}
