//! What systemd itself says of unit files: `systemd-analyze verify`, where this machine has it. It knows all
//! keys. Of its messages only those about a line count: others are about programs and units that the machine
//! lacks and a node has.

use std::fs;
use std::path::Path;

use super::Finding;
use super::unit_file::kind;
use crate::definition::plan::FilePlan;
use crate::error::{IoContext, Result};
use crate::process::tool;

/// The version of systemd in the default image. Older ones do not know all keys that a unit of it may have.
const KNOWS_KEYS: u32 = 257;

/// The ways to look at unit files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verifier {
    /// Kiln's own look alone.
    Own,
    /// systemd's too, but for keys that it does not know.
    OlderSystemd,
    /// systemd's too.
    Systemd,
}

impl Verifier {
    /// systemd's, if this machine has it.
    pub fn of_this_machine() -> Self {
        let output = tool("systemd-analyze").arg("--version").output();
        let said = output.ok().filter(|output| output.status.success());
        let said = said.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        said.map_or(Self::Own, |said| Self::of_version(&said))
    }

    /// "systemd 257 (257.9-1)"
    fn of_version(said: &str) -> Self {
        let version = said.split_whitespace().nth(1).and_then(|word| word.parse::<u32>().ok());
        if version.is_some_and(|version| version >= KNOWS_KEYS) { Self::Systemd } else { Self::OlderSystemd }
    }

    /// What systemd says of each of these files, by its number.
    pub(super) fn verify<'a>(
        self,
        files: impl Iterator<Item = (usize, &'a FilePlan)>,
    ) -> Result<Vec<(usize, Finding)>> {
        let mut findings = Vec::new();
        for (index, file) in files.filter(|_| self != Self::Own) {
            findings.extend(self.verify_one(file)?.into_iter().map(|finding| (index, finding)));
        }
        Ok(findings)
    }

    fn verify_one(self, file: &FilePlan) -> Result<Vec<Finding>> {
        let folder = tempfile::tempdir().at("creating a folder in", std::env::temp_dir())?;
        let Some(name) = lay_out(folder.path(), file)? else { return Ok(Vec::new()) };
        let mut command = tool("systemd-analyze");
        command
            .args(["verify", "--man=no", "--recursive-errors=no"])
            .arg(folder.path().join(name));
        let Ok(output) = command.output() else { return Ok(Vec::new()) };
        Ok(self.about_lines(&String::from_utf8_lossy(&output.stderr), folder.path()))
    }

    /// The messages that name a line of a file in `folder`: "/folder/x.service:7: Failed to parse …".
    fn about_lines(self, said: &str, folder: &Path) -> Vec<Finding> {
        let folder = format!("{}/", folder.display());
        let about_line = |line: &str| {
            let (_, rest) = line.strip_prefix(&folder)?.split_once(':')?;
            let (number, message) = rest.split_once(':')?;
            let number: usize = number.parse().ok()?;
            let is_of_age = self == Self::OlderSystemd && message.trim_start().starts_with("Unknown key");
            (!is_of_age).then(|| format!("line {number}: systemd: {}", message.trim()))
        };
        let help = "mend the line; --no-systemd leaves out what this machine's systemd says";
        said.lines().filter_map(about_line).map(|message| (message, help.to_owned())).collect()
    }
}

/// Writes the file into `folder`, and for a drop-in an empty unit that it changes. The name of the unit.
fn lay_out(folder: &Path, file: &FilePlan) -> Result<Option<String>> {
    let name = file.path.rsplit('/').next().unwrap_or_default();
    let Some(changed) = file.path.rsplit('/').nth(1).and_then(|folder| folder.strip_suffix(".d")) else {
        let path = folder.join(name);
        fs::write(&path, &file.content).at("writing", &path)?;
        return Ok(Some(name.to_owned()));
    };
    // "a-.service.d" is for all units that begin so; a name without a dot for all of a kind.
    let unit = match changed.rsplit_once('.') {
        Some((stem, ending)) if stem.ends_with('-') => format!("{stem}x.{ending}"),
        Some(_) => changed.to_owned(),
        None => format!("x.{changed}"),
    };
    if kind(&unit).is_none_or(|(ending, _)| ending == ".scope") {
        // Only a running systemd has scopes.
        return Ok(None);
    }
    let drop_ins = folder.join(format!("{unit}.d"));
    fs::create_dir(&drop_ins).at("creating", &drop_ins)?;
    for (path, content) in
        [(folder.join(&unit), b"[Unit]\n".as_slice()), (drop_ins.join(name), &file.content)]
    {
        fs::write(&path, content).at("writing", &path)?;
    }
    Ok(Some(unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_about_lines_count_and_those_about_this_machine_do_not() {
        let said = "/tmp/v/t.service:2: Unknown key 'Descripton' in section [Unit], ignoring.\n\
                    /tmp/v/t.service:7: Failed to parse service type, ignoring: onshot\n\
                    /usr/lib/systemd/system/other.service:1: Unknown key 'X' in section [Unit], ignoring.\n\
                    t.service: Command /usr/bin/x is not executable: No such file or directory\n";
        let found = |verifier: Verifier| {
            let found = verifier.about_lines(said, Path::new("/tmp/v"));
            found.into_iter().map(|(message, _)| message).collect::<Vec<_>>()
        };
        let value = "line 7: systemd: Failed to parse service type, ignoring: onshot";
        let key = "line 2: systemd: Unknown key 'Descripton' in section [Unit], ignoring.";
        assert_eq!(found(Verifier::of_version("systemd 257 (257.9-1~deb13u1)\n+PAM")), [key, value]);
        assert_eq!(found(Verifier::of_version("systemd 252 (252.38-1~deb12u1)")), [value]);
    }
}
