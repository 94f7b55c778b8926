//! A tree as one deterministic tar stream, for tools that read tars.

use std::io::{self, Write};

use tar::{Builder, EntryType, Header};

use crate::tree::{Entry, Node, Tree};

/// Writes `tree` in path order; every entry carries `epoch` as its time. Extended attributes are PAX records (`SCHILY.xattr.NAME`).
pub fn write_tar(tree: &Tree, epoch: u64, out: impl Write) -> io::Result<()> {
    let mut builder = Builder::new(out);
    for (path, entry) in &tree.entries {
        write_entry(&mut builder, path, entry, epoch).map_err(|error| io::Error::new(error.kind(), format!("{path}: {error}")))?;
    }
    builder.into_inner()?.flush()
}

fn write_entry(builder: &mut Builder<impl Write>, path: &str, entry: &Entry, epoch: u64) -> io::Result<()> {
    let attributes: Vec<(String, &[u8])> =
        entry.xattrs.iter().map(|(name, value)| (format!("SCHILY.xattr.{name}"), value.as_slice())).collect();
    builder.append_pax_extensions(attributes.iter().map(|(name, value)| (name.as_str(), *value)))?;
    let mut header = Header::new_gnu();
    header.set_mode(entry.mode);
    header.set_uid(entry.uid.into());
    header.set_gid(entry.gid.into());
    header.set_mtime(epoch);
    header.set_size(0);
    match &entry.node {
        Node::Directory => {
            header.set_entry_type(EntryType::Directory);
            builder.append_data(&mut header, format!("{path}/"), io::empty())
        }
        Node::File(body) => {
            header.set_entry_type(EntryType::Regular);
            header.set_size(body.len());
            builder.append_data(&mut header, path, body.open()?)
        }
        Node::Symlink(target) => {
            header.set_entry_type(EntryType::Symlink);
            builder.append_link(&mut header, path, target)
        }
    }
}
