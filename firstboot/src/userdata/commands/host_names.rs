//! The host name that commands set.

use zeroize::Zeroizing;

use super::Shell;
use crate::userdata::bounds::wrong;
use crate::userdata::shell::Word;

impl Shell<'_> {
    /// `hostname NAME`, `hostnamectl set-hostname NAME`. Returns false if it does something else.
    pub(super) fn rename_host(&mut self, program: &str, words: &[Word]) -> bool {
        let Some(word) = named_host(program, words) else { return false };
        let name = match word {
            HostName::Text(word) => self.fields(word).filter(|fields| fields.len() == 1),
            HostName::File(word) => self
                .fields(word)
                .and_then(|fields| self.value(&format!("$(cat {})", fields.first()?.as_str())))
                .map(|name| vec![Zeroizing::new(name)]),
        };
        let name = name.filter(|_| self.is_certain());
        let name = name.and_then(|fields| Some(fields.first()?.as_str().to_owned()));
        self.variables.rename_host(name.clone());
        if self.found.join.is_none() {
            self.found.hostname = Some(name.ok_or_else(|| {
                wrong(format!("{program} sets a host name that is not known without running it"))
                    .help("set hostname: in the cloud-config, or name the node in its JoinConfiguration")
            }));
        }
        true
    }
}

/// What a command sets the host name to.
enum HostName<'w> {
    Text(&'w Word),
    /// What is in this file.
    File(&'w Word),
}

fn named_host<'w>(program: &str, words: &'w [Word]) -> Option<HostName<'w>> {
    let texts: Vec<Zeroizing<String>> = words.iter().map(Word::text).collect();
    let texts: Vec<&str> = texts.iter().map(|text| text.as_str()).collect();
    let options = |from: usize| texts.iter().skip(from).take_while(|text| text.starts_with('-')).count();
    match (program, texts.get(1).copied()?) {
        ("hostname", "-F" | "--file") => words.get(2).map(HostName::File),
        ("hostname", "-b" | "--boot") => words.get(2).map(HostName::Text),
        ("hostname", option) if option.starts_with('-') => None,
        ("hostname", _) => words.get(1).map(HostName::Text),
        _ => {
            let position = 1 + options(1);
            let is_set = matches!(texts.get(position), Some(&("set-hostname" | "hostname")));
            let name = position + 1 + options(position + 1);
            words.get(name).filter(|_| is_set).map(HostName::Text)
        }
    }
}
