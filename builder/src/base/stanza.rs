//! Control files of packages, and lists of them (deb-control(5)).

use std::collections::BTreeMap;

/// The fields of a stanza, by lower-case name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Stanza(BTreeMap<String, String>);

impl Stanza {
    /// Reads one stanza. Continuation lines are kept, with their line breaks.
    pub(super) fn parse(text: &str) -> Self {
        let mut fields: BTreeMap<String, String> = BTreeMap::new();
        let mut last = String::new();
        for line in text.lines() {
            if line.starts_with([' ', '\t']) {
                if let Some(value) = fields.get_mut(&last) {
                    value.push('\n');
                    value.push_str(line.trim());
                }
            } else if let Some((name, value)) = line.split_once(':') {
                last = name.trim().to_ascii_lowercase();
                fields.insert(last.clone(), value.trim().to_owned());
            }
        }
        Self(fields)
    }

    /// The value of a field, by lower-case name; empty when it is absent.
    pub(super) fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// All package names in a relationship field: every alternative, without versions and architectures.
    pub(super) fn names(&self, field: &str) -> impl Iterator<Item = &str> {
        self.get(field)
            .split([',', '|'])
            .map(|relation| relation.trim().split(['(', '[', '<', ':', ' ', '\n']).next().unwrap_or_default())
            .filter(|name| !name.is_empty())
    }
}

/// All stanzas of a text.
pub(super) fn stanzas(text: &str) -> impl Iterator<Item = Stanza> {
    text.split("\n\n").filter(|text| !text.trim().is_empty()).map(Stanza::parse)
}
