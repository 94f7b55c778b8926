//! Makes the tree that a layer asked for from the members of an archive.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::members::{Kind, Member, Members};
use super::unpack::{Unpacked, unpack};
use super::{Archive, ENTRIES, bomb, links, path, pattern, refuse, unpack_limit};
use crate::definition::plan::ArchiveRules;
use crate::error::{Error, ErrorKind, Result};
use crate::tree::near::suggest;
use crate::tree::{Body, Entry, Node, Tree, TreePath};

/// Setuid and setgid, which are never accepted from outside.
const SET_ID: u32 = 0o6000;
/// Write permission for group and others, which the usual umask (022) removes.
const SHARED_WRITE: u32 = 0o022;
/// Folders whose contents belong to a running system. A mounted file system or systemd covers them.
const RUNTIME: [&str; 5] = ["dev", "proc", "run", "sys", "tmp"];
/// Folders in which everybody may write, as `/tmp`, keep these together.
const STICKY: u32 = 0o1000;

impl Archive {
    /// Extracts what `rules` ask for; see [`fn@super::extract`].
    pub fn extract(&self, rules: &ArchiveRules, spool_dir: &Path) -> Result<Tree> {
        let unpacked = unpack(self, spool_dir)?;
        let all = self.entries(&unpacked, entry)?;
        let stripped = self.strip(all, rules.strip)?;
        check_links(&stripped, self.rooted, &self.title)?;
        let tree = self.pick(stripped, rules)?;
        unpacked.keep()?;
        Ok(tree)
    }

    /// The whole tree of a tar that is a root file system; see [`fn@super::root`].
    pub(super) fn root(&self) -> Result<Tree> {
        let unpacked = Unpacked { path: self.path.clone(), start: self.start, end: self.end, spool: None };
        let tree = Tree { entries: self.entries(&unpacked, root_entry)? };
        check_root(&tree, &self.title)?;
        Ok(tree)
    }

    /// All entries by their path in the archive, as `entry` makes them.
    fn entries(&self, unpacked: &Unpacked, entry: MakeEntry) -> Result<BTreeMap<TreePath, Entry>> {
        let file: Arc<Path> = Arc::from(unpacked.path.as_path());
        let limit = unpack_limit(self.end - self.start);
        let mut members = Members::open(&unpacked.path, unpacked.start, unpacked.end, &self.title)?;
        let mut entries = BTreeMap::new();
        let mut content = 0_u64;
        while let Some(member) = members.next()? {
            let fail = |reason: &str| refuse(&self.title, &member.path, reason);
            if entries.len() == ENTRIES {
                return Err(fail(&format!("the archive has more than {ENTRIES} entries")));
            }
            let path = path::clean(&member.path).map_err(|reason| fail(&reason))?;
            if path.is_empty() {
                if member.kind == Kind::Directory {
                    continue;
                }
                return Err(fail("it is not a folder, but takes the place of the archive's root"));
            }
            let Some(entry) = entry(&path, &member, &entries, &file).map_err(|reason| fail(&reason))? else {
                continue;
            };
            if let Node::File(body) = &entry.node {
                // Hard links count each time, because a million names for one large body are a bomb too.
                content = content.saturating_add(body.len());
                if content > limit.max(unpacked.end - unpacked.start) {
                    return Err(bomb(&self.title, self.end - self.start, limit));
                }
            }
            if entries.insert(path, entry).is_some() {
                return Err(fail("it is in the archive twice"));
            }
        }
        if entries.is_empty() {
            return Err(Error::new(ErrorKind::Archive, format!("archive {}: it is empty", self.title))
                .help("check where it comes from"));
        }
        self.check_parents(&entries)?;
        Ok(entries)
    }

    /// Nothing may be below a file or a link: readers would follow the link, or replace it.
    fn check_parents(&self, entries: &BTreeMap<TreePath, Entry>) -> Result<()> {
        for path in entries.keys() {
            for (slash, _) in path.match_indices('/') {
                let kind = match entries.get(&path[..slash]).map(|parent| &parent.node) {
                    None | Some(Node::Directory) => continue,
                    Some(Node::File(_)) => "file",
                    Some(Node::Symlink(_)) => "link",
                };
                return Err(refuse(
                    &self.title,
                    path.as_bytes(),
                    &format!("it lies below \"{}\", which is a {kind}", &path[..slash]),
                ));
            }
        }
        Ok(())
    }

    /// Drops the first `count` components of all paths, and entries without further components.
    fn strip(&self, entries: BTreeMap<TreePath, Entry>, count: usize) -> Result<BTreeMap<TreePath, Entry>> {
        if count == 0 {
            return Ok(entries);
        }
        let mut stripped: BTreeMap<TreePath, Entry> = BTreeMap::new();
        for (path, entry) in entries {
            let Some(rest) = path.splitn(count + 1, '/').nth(count) else { continue };
            let both_folders = |old: &Entry| old.node == Node::Directory && entry.node == Node::Directory;
            if stripped.get(rest).is_some_and(|old| !both_folders(old)) {
                return Err(refuse(
                    &self.title,
                    path.as_bytes(),
                    &format!("after dropping {count} components another entry has its path"),
                ));
            }
            stripped.insert(rest.to_owned(), entry);
        }
        if stripped.is_empty() {
            return Err(Error::new(
                ErrorKind::Definition,
                format!("archive {}: nothing is left after strip = {count}", self.title),
            )
            .help("use a smaller number, or leave strip out"));
        }
        self.check_parents(&stripped)?;
        Ok(stripped)
    }

    fn pick(&self, entries: BTreeMap<TreePath, Entry>, rules: &ArchiveRules) -> Result<Tree> {
        for wanted in &rules.pick {
            self.check_pattern(wanted, &entries)?;
        }
        let mut tree = Tree::default();
        let into = rules.into.trim_matches('/');
        for (path, entry) in &entries {
            let picked =
                rules.pick.is_empty() || rules.pick.iter().any(|wanted| pattern::matches(wanted, path));
            if !picked || is_plain_folder(&entries, path) {
                continue;
            }
            let mut entry = entry.clone();
            if let (Node::File(_), Some(mode)) = (&entry.node, rules.mode) {
                entry.mode = mode;
            }
            tree.insert(if into.is_empty() { path.clone() } else { format!("{into}/{path}") }, entry);
        }
        Ok(tree)
    }

    fn check_pattern(&self, wanted: &str, entries: &BTreeMap<TreePath, Entry>) -> Result<()> {
        let mut matched = entries.keys().filter(|path| pattern::matches(wanted, path)).peekable();
        let error = |what: &str| {
            Error::new(
                ErrorKind::Definition,
                format!("archive {}: the pattern \"{wanted}\" {what}", self.title),
            )
        };
        if matched.peek().is_none() {
            let names = entries
                .iter()
                .filter(|(_, entry)| entry.node != Node::Directory)
                .map(|(path, _)| path.as_str());
            return Err(error("matches nothing").help(suggest(
                wanted,
                names,
                "list the archive to see its paths; patterns apply after strip",
            )));
        }
        if matched.all(|path| is_plain_folder(entries, path)) {
            return Err(error("matches only a folder")
                .help(format!("write \"{}/**\" to take what is in it", wanted.trim_end_matches('/'))));
        }
        Ok(())
    }
}

/// A folder without information of its own. It is created with its contents, and a layer that states a mode
/// decides the mode.
fn is_plain_folder(entries: &BTreeMap<TreePath, Entry>, path: &str) -> bool {
    let prefix = format!("{path}/");
    let has_contents =
        || entries.range(prefix.clone()..).next().is_some_and(|(next, _)| next.starts_with(&prefix));
    entries
        .get(path)
        .is_some_and(|entry| entry.node == Node::Directory && entry.mode == 0o755)
        && has_contents()
}

fn check_links(entries: &BTreeMap<TreePath, Entry>, rooted: bool, title: &str) -> Result<()> {
    for (path, entry) in entries {
        if let Node::Symlink(target) = &entry.node {
            links::check(entries, path, target, rooted)
                .map_err(|reason| refuse(title, path.as_bytes(), &reason))?;
        }
    }
    Ok(())
}

/// Checks that no link of a root file system leads out of it.
///
/// # Errors
/// [`ErrorKind::Archive`] that names the link.
pub(crate) fn check_root(tree: &Tree, title: &str) -> Result<()> {
    check_links(&tree.entries, true, title)
}

/// Whether a path of a root file system lies below a folder whose contents belong to a running system.
pub(crate) fn is_of_a_running_system(path: &str) -> bool {
    path.split_once('/').is_some_and(|(top, _)| RUNTIME.contains(&top))
}

/// Makes an entry of the member at a path, given the entries before it; `None` leaves it out.
type MakeEntry = fn(&str, &Member, &BTreeMap<TreePath, Entry>, &Arc<Path>) -> Result<Option<Entry>, String>;

/// An entry of an artifact: it gets neither owners nor special modes from outside.
fn entry(
    _: &str,
    member: &Member,
    before: &BTreeMap<TreePath, Entry>,
    file: &Arc<Path>,
) -> Result<Option<Entry>, String> {
    let mut entry = as_it_is(member, before, file)?;
    match entry.node {
        Node::File(_) if matches!(member.kind, Kind::File) => entry.mode &= !(SET_ID | SHARED_WRITE),
        Node::Directory if member.mode & STICKY != 0 => entry.mode &= !SET_ID,
        Node::Directory => entry.mode &= !(SET_ID | SHARED_WRITE),
        _ => {}
    }
    Ok(Some(entry))
}

/// An entry of a root file system.
fn root_entry(
    path: &str,
    member: &Member,
    before: &BTreeMap<TreePath, Entry>,
    file: &Arc<Path>,
) -> Result<Option<Entry>, String> {
    if is_of_a_running_system(path) {
        return Ok(None);
    }
    let mut entry = as_it_is(member, before, file)?;
    if !matches!(member.kind, Kind::Hardlink(_)) {
        (entry.uid, entry.gid) = (member.uid, member.gid);
        let kept = member.xattrs.iter().filter(|(name, _)| is_kept(name));
        entry.xattrs = kept.cloned().collect();
    }
    Ok(Some(entry))
}

/// Whether a root file system keeps this extended attribute: capabilities of programs, and the users' own.
pub(crate) fn is_kept(xattr: &str) -> bool {
    xattr.starts_with("security.") || xattr.starts_with("user.")
}

fn as_it_is(member: &Member, before: &BTreeMap<TreePath, Entry>, file: &Arc<Path>) -> Result<Entry, String> {
    match &member.kind {
        Kind::File => {
            let body = Body::Slice { file: Arc::clone(file), offset: member.offset, len: member.size };
            Ok(Entry::file(body, member.mode))
        }
        Kind::Directory => Ok(Entry::directory(member.mode)),
        Kind::Symlink(target) => path::target(target).map(Entry::symlink),
        Kind::Hardlink(target) => hard_link(target, before),
        Kind::Device => Err("it is a device node".into()),
        Kind::Fifo => Err("it is a named pipe".into()),
    }
}

/// A hard link becomes a separate entry with the same content.
pub(crate) fn hard_link(target: &[u8], before: &BTreeMap<TreePath, Entry>) -> Result<Entry, String> {
    let shown = String::from_utf8_lossy(&target[..target.len().min(200)]).escape_debug().to_string();
    let path = path::clean(target).map_err(|reason| {
        format!("it is a hard link to \"{shown}\": {}", reason.replace("its path", "that path"))
    })?;
    match before.get(&path) {
        Some(entry) if entry.node != Node::Directory => Ok(entry.clone()),
        Some(_) => Err(format!("it is a hard link to \"{shown}\", which is a folder")),
        None => Err(format!("it is a hard link to \"{shown}\", which is not in the archive before it")),
    }
}
