//! What a layer declares, as a tree: artifacts, files, folders and links.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::archive;
use crate::definition::plan::{ArtifactPlan, LayerPlan, Place};
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::tree::{Body, Entry, Node, Tree, TreePath};

/// Where the verified bytes of an artifact lie.
pub type Blobs<'a> = dyn Fn(&ArtifactPlan) -> Result<PathBuf> + 'a;

/// The tree of `plan`: only what it declares, without parent folders. Bodies are slices of the artifacts, or
/// of new files in `spool`; both must stay unchanged while the tree lives.
///
/// # Errors
/// [`ErrorKind::Definition`] when the layer declares one path twice; the errors of [`archive::extract`] and
/// of `blob`.
pub fn assemble(plan: &LayerPlan, blob: &Blobs<'_>, spool: &Path) -> Result<Tree> {
    let mut draft = Draft::default();
    for artifact in &plan.artifacts {
        let path = blob(artifact)?;
        let source = format!("the artifact {}", artifact.name);
        match &artifact.place {
            Place::File { path: place, mode } => {
                draft.add(place.clone(), Entry::file(whole(&path)?, *mode), &source)?
            }
            Place::Archive(rules) => {
                let title = format!("{} {}", artifact.name, artifact.version);
                for (place, entry) in archive::extract(&path, rules, title.trim_end(), spool)?.entries {
                    draft.add(place, entry, &source)?;
                }
            }
        }
    }
    for file in &plan.files {
        let entry = Entry {
            uid: file.uid,
            gid: file.gid,
            ..Entry::file(Body::inline(file.content.as_slice()), file.mode)
        };
        draft.add(file.path.clone(), entry, "a file")?;
    }
    for folder in &plan.directories {
        draft.add(
            folder.path.clone(),
            Entry { uid: folder.uid, gid: folder.gid, ..Entry::directory(folder.mode) },
            "a folder",
        )?;
    }
    for link in &plan.links {
        draft.add(link.path.clone(), Entry::symlink(link.target.as_str()), "a link")?;
    }
    Ok(draft.tree)
}

/// A tree that remembers what each path comes from.
#[derive(Default)]
struct Draft {
    tree: Tree,
    sources: BTreeMap<TreePath, String>,
}

impl Draft {
    fn add(&mut self, path: TreePath, entry: Entry, source: &str) -> Result<()> {
        if let Some(first) = self.sources.get(&path) {
            let same_folder = entry.node == Node::Directory && self.tree.get(&path) == Some(&entry);
            if same_folder {
                return Ok(());
            }
            return Err(Error::new(
                ErrorKind::Definition,
                format!("{path} is declared twice: by {first} and by {source}"),
            )
            .help("remove one of them, or leave it out of the archive with pick"));
        }
        self.sources.insert(path.clone(), source.to_owned());
        self.tree.insert(path, entry);
        Ok(())
    }
}

fn whole(path: &Path) -> Result<Body> {
    let path = std::path::absolute(path).at("resolving", path)?;
    let len = path.metadata().at("reading", &path)?.len();
    Ok(Body::Slice { file: Arc::from(path), offset: 0, len })
}
