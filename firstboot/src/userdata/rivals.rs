//! Joins beside the one that counts: a script or a unit that nothing starts here, and that joins on machines
//! without this agent. It may not say anything else.

use super::bounds::{Budget, Bytes, wrong};
use super::commands::{self, Program};
use super::files::{ExtraFile, Files};
use super::mentions::could_join;
use super::shell::Script;
use super::variables::Variables;
use super::workspace::is_shell_script;
use crate::config::flags::JoinFlags;
use crate::error::Result;

/// The join that counts.
pub struct Counted<'a> {
    /// The flags of its command.
    pub flags: &'a JoinFlags,
    /// Its node configs.
    pub documents: Vec<&'a [u8]>,
    /// The content of a file in the user data.
    pub file: &'a dyn Fn(&str) -> Option<Bytes>,
}

impl Counted<'_> {
    /// Fails if a script joins with another config, or to another cluster, or under another name. What
    /// cannot be evaluated says nothing.
    pub fn check(
        &self,
        script: Script,
        lookup: &dyn Fn(&str) -> Option<String>,
        budget: &Budget,
    ) -> Result<()> {
        let program = Program { scripts: vec![script], ..Program::default() };
        let found = commands::evaluate(program, Files::default(), Variables::new(lookup, None), budget);
        match found.ok().and_then(|found| found.join) {
            Some(rival) if self.differs(&rival) => {
                Err(wrong("a script or a unit that is not run here joins in another way than what counts")
                    .help("leave one of the two joins out, or write the same in both"))
            }
            _ => Ok(()),
        }
    }

    fn differs(&self, rival: &JoinFlags) -> bool {
        if rival == self.flags {
            return false;
        }
        let path = rival.config.as_deref().and_then(|path| path.to_str());
        let config = path.and_then(self.file);
        let is_other = config.is_some_and(|config| !self.documents.contains(&config.as_slice()));
        let endpoint = rival.endpoints.first();
        is_other
            || endpoint.is_some_and(|endpoint| !self.says(endpoint, self.flags.endpoints.first()))
            || rival
                .node_name
                .as_ref()
                .is_some_and(|name| !self.says(name, self.flags.node_name.as_ref()))
    }

    /// Whether a flag or a document has this value.
    fn says(&self, value: &str, flag: Option<&String>) -> bool {
        let is_in =
            |document: &&[u8]| document.windows(value.len().max(1)).any(|part| part == value.as_bytes());
        flag.map_or_else(|| self.documents.iter().any(is_in), |flag| flag == value)
    }
}

/// The scripts among the files that join.
pub fn scripts<'f>(files: impl Iterator<Item = &'f ExtraFile>) -> Vec<Script> {
    let text = |file: &'f ExtraFile| std::str::from_utf8(file.content.bytes()).ok();
    files
        .filter(|file| could_join(&file.path, file.content.bytes()))
        .filter_map(text)
        .filter(|text| is_shell_script(text))
        .map(|text| text.to_owned().into())
        .collect()
}
