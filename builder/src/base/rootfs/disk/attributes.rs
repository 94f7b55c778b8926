//! Extended attributes on an ext4 file system, read by e2fsprogs' debugfs, which needs neither root nor a
//! mount: capabilities of programs, and what folders in the upper side of an overlay hide. Others are left
//! out.

use std::io::Write;
use std::path::Path;

use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::process::{Run, tool};
use crate::tree::overlay::{OPAQUE, REDIRECT};
use crate::tree::{Node, Tree};

/// The package of the tool.
const PACKAGE: &str = "e2fsprogs";

const CAPABILITY: &str = "security.capability";

/// debugfs repeats every command behind this.
const PROMPT: &str = "debugfs: ";

/// Gives every program in `tree` the capabilities that it has on the file system at `offset` of the disk, and
/// every folder below `overlays` what it says of folders below it.
pub(super) fn add(tree: &mut Tree, disk: &Path, offset: u64, overlays: Option<&str>) -> Result<()> {
    let of_folders = [format!("trusted.{OPAQUE}"), format!("trusted.{REDIRECT}")];
    let mut questions: Vec<(String, &str)> = Vec::new();
    for (path, entry) in tree.entries.iter().filter(|(path, _)| !path.contains('"')) {
        let is_of_overlay = overlays.is_some_and(|folder| path.starts_with(folder));
        match entry.node {
            Node::File(_) if entry.mode & 0o111 != 0 => questions.push((path.clone(), CAPABILITY)),
            Node::Directory if is_of_overlay => {
                questions.extend(of_folders.iter().map(|name| (path.clone(), name.as_str())));
            }
            _ => {}
        }
    }
    let mut commands = tempfile::NamedTempFile::new().at("creating a file in", std::env::temp_dir())?;
    for (path, name) in &questions {
        writeln!(commands, "ea_get -x \"/{path}\" {name}").at("writing", commands.path())?;
    }
    let mut place = disk.as_os_str().to_owned();
    place.push(format!("?offset={offset}"));
    let output = tool("debugfs").arg("-f").arg(commands.path()).arg(place).run(PACKAGE)?;
    // Its exit code is always that of success.
    let said = String::from_utf8_lossy(&output.stderr);
    if let Some(line) = said.lines().find(|line| line.contains("while trying to open")) {
        return Err(Error::new(ErrorKind::Tool, line));
    }
    for ((path, name), value) in parse(&String::from_utf8_lossy(&output.stdout), &questions)? {
        if let Some(entry) = tree.entries.get_mut(path) {
            entry.xattrs.insert((*name).to_owned(), value);
        }
    }
    Ok(())
}

/// A path and the name of an attribute.
type Question<'a> = (String, &'a str);

/// The values in debugfs' answers, one for each question.
fn parse<'a, 'b>(text: &str, questions: &'a [Question<'b>]) -> Result<Vec<(&'a Question<'b>, Vec<u8>)>> {
    let wrong =
        |what: &str| Error::new(ErrorKind::Tool, format!("debugfs answers otherwise than expected: {what}"));
    let mut answers = text.split(PROMPT).skip(1);
    let mut found = Vec::new();
    for question in questions {
        let answer = answers.next().ok_or_else(|| wrong("answers are missing"))?;
        let Some((_, value)) = answer.split_once(&format!("\n{} (", question.1)) else { continue };
        let digits = value.split_once("= ").map_or("", |(_, digits)| digits);
        let digits: String = digits.split_whitespace().collect();
        found.push((question, hex::decode(digits).map_err(|_| wrong(value))?));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_belong_to_their_programs() {
        let questions = ["bin/a", "bin/ping", "bin/z"].map(|path| (path.to_owned(), CAPABILITY));
        let text = "debugfs: ea_get -x \"/bin/a\" security.capability\n\
                    debugfs: ea_get -x \"/bin/ping\" security.capability\nsecurity.capability (4) = 01 00 fe 02 \n\n\
                    debugfs: ea_get -x \"/bin/z\" security.capability\n";
        assert_eq!(parse(text, &questions).unwrap(), [(&questions[1], vec![1, 0, 0xfe, 2])]);
        assert!(parse("debugfs: x\n", &questions).is_err());
    }
}
