pub(crate) mod raw;
mod foreign;
mod hostile;
mod rules;

use std::path::Path;

use super::*;
use crate::tree::Node;

fn rules() -> ArchiveRules {
    ArchiveRules { strip: 0, pick: Vec::new(), into: String::new(), mode: None }
}

/// Extracts from bytes and passes the tree to `look` while its files exist.
fn extracted<T>(bytes: &[u8], rules: &ArchiveRules, look: impl FnOnce(Result<Tree>, &Path) -> T) -> T {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("archive");
    std::fs::write(&path, bytes).unwrap();
    let spool = folder.path().join("spool");
    std::fs::create_dir(&spool).unwrap();
    look(extract(&path, rules, "sample 1.0", &spool), &spool)
}

fn error(bytes: &[u8], rules: &ArchiveRules) -> Error {
    extracted(bytes, rules, |result, spool| {
        let error = result.expect_err("it should have been refused");
        assert_eq!(std::fs::read_dir(spool).unwrap().count(), 0, "a spool file is left");
        error
    })
}

/// One line for each entry: path, mode in octal, and content or target.
fn listing(bytes: &[u8], rules: &ArchiveRules) -> Vec<String> {
    extracted(bytes, rules, |result, _| {
        let tree = result.unwrap();
        let line = |(path, entry): (&String, &crate::tree::Entry)| {
            assert_eq!((entry.uid, entry.gid, entry.xattrs.len()), (0, 0, 0), "{path}");
            let content = match &entry.node {
                Node::Directory => "/".to_owned(),
                Node::File(body) => String::from_utf8(body.read().unwrap()).unwrap(),
                Node::Symlink(target) => format!("-> {target}"),
            };
            format!("{path} {:o} {content}", entry.mode)
        };
        tree.entries.iter().map(line).collect()
    })
}
