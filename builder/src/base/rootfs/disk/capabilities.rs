//! Capabilities of programs on an ext4 file system, read by e2fsprogs' debugfs, which needs neither root nor
//! a mount. Other extended attributes are left out.

use std::io::Write;
use std::path::Path;

use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::process::{Run, tool};
use crate::tree::{Node, Tree};

/// The package of the tool.
const PACKAGE: &str = "e2fsprogs";

const ATTRIBUTE: &str = "security.capability";

/// debugfs repeats every command behind this.
const PROMPT: &str = "debugfs: ";

/// Gives every program in `tree` the capabilities that it has on the file system at `offset` of the disk.
pub(super) fn add(tree: &mut Tree, disk: &Path, offset: u64) -> Result<()> {
    let programs = tree.entries.iter().filter(|(path, entry)| {
        matches!(entry.node, Node::File(_)) && entry.mode & 0o111 != 0 && !path.contains('"')
    });
    let programs: Vec<String> = programs.map(|(path, _)| path.clone()).collect();
    let mut commands = tempfile::NamedTempFile::new().at("creating a file in", std::env::temp_dir())?;
    for path in &programs {
        writeln!(commands, "ea_get -x \"/{path}\" {ATTRIBUTE}").at("writing", commands.path())?;
    }
    let mut place = disk.as_os_str().to_owned();
    place.push(format!("?offset={offset}"));
    let output = tool("debugfs").arg("-f").arg(commands.path()).arg(place).run(PACKAGE)?;
    // Its exit code is always that of success.
    let said = String::from_utf8_lossy(&output.stderr);
    if let Some(line) = said.lines().find(|line| line.contains("while trying to open")) {
        return Err(Error::new(ErrorKind::Tool, line));
    }
    for (path, value) in parse(&String::from_utf8_lossy(&output.stdout), &programs)? {
        if let Some(entry) = tree.entries.get_mut(path) {
            entry.xattrs.insert(ATTRIBUTE.to_owned(), value);
        }
    }
    Ok(())
}

/// The values in debugfs' answers, one for each of `programs`.
fn parse<'a>(text: &str, programs: &'a [String]) -> Result<Vec<(&'a str, Vec<u8>)>> {
    let wrong =
        |what: &str| Error::new(ErrorKind::Tool, format!("debugfs answers otherwise than expected: {what}"));
    let mut answers = text.split(PROMPT).skip(1);
    let mut found = Vec::new();
    for path in programs {
        let answer = answers.next().ok_or_else(|| wrong("answers are missing"))?;
        let Some((_, value)) = answer.split_once(&format!("\n{ATTRIBUTE} (")) else { continue };
        let digits = value.split_once("= ").map_or("", |(_, digits)| digits);
        let digits: String = digits.split_whitespace().collect();
        found.push((path.as_str(), hex::decode(digits).map_err(|_| wrong(value))?));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_belong_to_their_programs() {
        let programs = ["bin/a", "bin/ping", "bin/z"].map(str::to_owned);
        let text = "debugfs: ea_get -x \"/bin/a\" security.capability\n\
                    debugfs: ea_get -x \"/bin/ping\" security.capability\nsecurity.capability (4) = 01 00 fe 02 \n\n\
                    debugfs: ea_get -x \"/bin/z\" security.capability\n";
        assert_eq!(parse(text, &programs).unwrap(), [("bin/ping", vec![1, 0, 0xfe, 2])]);
        assert!(parse("debugfs: x\n", &programs).is_err());
    }
}
