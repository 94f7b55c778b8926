//! systemd's units that commands start, enable and link.

use super::Shell;
use crate::error::Result;
use crate::userdata::shell::Word;

/// Subcommands of systemctl that start units, and those that do with `--now`.
const STARTS: &[&str] = &["start", "restart", "reload-or-restart"];
const ENABLES: &[&str] = &["enable", "reenable"];

impl Shell<'_> {
    /// Evaluates what these units run, and those that are started with them.
    pub(super) fn start_units(&mut self, names: Vec<String>, shells: usize) -> Result<()> {
        for unit in self.found.units.start(names, &self.found.workspace) {
            for command in unit.commands() {
                let mut script = unit.environment(&self.found.workspace);
                script.push_str(&command);
                self.process(&script, false, shells)?;
            }
        }
        Ok(())
    }

    /// `systemctl start`, `systemctl enable`
    pub(super) fn systemctl(&mut self, words: &[Word], shells: usize) -> Result<()> {
        let words: Vec<_> = words.iter().skip(1).flat_map(|word| self.fields(word)).flatten().collect();
        let is_now = words.iter().any(|word| word.as_str() == "--now");
        let mut names = words.iter().map(|word| word.as_str()).filter(|word| !word.starts_with('-'));
        let Some(verb) = names.next() else { return Ok(()) };
        let names: Vec<String> = names.map(whole_name).collect();
        let enables = ENABLES.contains(&verb);
        if enables {
            names.iter().for_each(|name| self.found.units.enable(name, &self.found.workspace));
        }
        let starts = STARTS.contains(&verb) || is_now && enables;
        if !starts {
            return Ok(());
        }
        if shells == 0 {
            self.doubt_all();
            return Ok(());
        }
        self.start_units(names, shells - 1)
    }
}

fn whole_name(name: &str) -> String {
    if name.contains('.') { name.to_owned() } else { format!("{name}.service") }
}
