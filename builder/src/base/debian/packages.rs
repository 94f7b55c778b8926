//! The archive's index of packages: stanzas of `Field: value` lines (deb822, Debian policy 5.1).

use crate::error::{Class, Error, Result};
use crate::lock::LockedPackage;

/// One stanza of an index, as far as Kiln reads it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stanza<'a> {
    /// Package name.
    pub name: &'a str,
    /// Version.
    pub version: &'a str,
    /// Architecture.
    pub architecture: &'a str,
    /// Source package, without the version that may follow it.
    pub source: Option<&'a str>,
    /// Whether the system cannot do without it.
    pub essential: bool,
    /// Path below the archive's root.
    pub path: &'a str,
    /// Length in bytes, as written.
    pub size: &'a str,
    /// SHA-256, hexadecimal.
    pub sha256: &'a str,
}

/// The stanzas of an index.
pub fn stanzas(index: &str) -> impl Iterator<Item = Stanza<'_>> {
    index.split("\n\n").filter(|text| !text.trim().is_empty()).map(|text| {
        let mut stanza = Stanza::default();
        for (field, value) in text.lines().filter(|line| !line.starts_with(' ')).filter_map(|line| line.split_once(": ")) {
            match field {
                "Package" => stanza.name = value,
                "Version" => stanza.version = value,
                "Architecture" => stanza.architecture = value,
                "Source" => stanza.source = value.split(' ').next(),
                "Essential" => stanza.essential = value == "yes",
                "Filename" => stanza.path = value,
                "Size" => stanza.size = value,
                "SHA256" => stanza.sha256 = value,
                _ => {}
            }
        }
        stanza
    })
}

impl Stanza<'_> {
    /// The pin of this package.
    pub fn lock(&self, archive: &str, install: bool) -> Result<LockedPackage> {
        let incomplete = |what: &str| Error::new(Class::Verification, format!("the index of {archive} has no {what} for {}", self.name));
        Ok(LockedPackage {
            name: self.name.to_owned(),
            version: self.version.to_owned(),
            architecture: self.architecture.to_owned(),
            source: self.source.unwrap_or(self.name).to_owned(),
            archive: archive.to_owned(),
            path: self.path.to_owned(),
            size: self.size.parse().map_err(|_| incomplete("size"))?,
            sha256: self.sha256.parse().map_err(|_| incomplete("SHA-256"))?,
            install,
        })
    }
}

/// Name and version of what `apt-get --simulate install` would install.
pub fn simulated(output: &str) -> Vec<(&str, &str)> {
    output
        .lines()
        .filter_map(|line| line.strip_prefix("Inst "))
        .filter_map(|rest| {
            let (name, rest) = rest.split_once(' ')?;
            let version = rest.split_once('(')?.1.split([' ', ')']).next()?;
            Some((name.split(':').next()?, version))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_stanzas_and_simulations() {
        let index = "Package: dash\nSource: dash-src (1)\nVersion: 1:0.5\nArchitecture: amd64\nEssential: yes\nDescription: a shell\n and: more\nFilename: pool/d.deb\nSize: 5\nSHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n\nPackage: x\nVersion: 1\n";
        let found: Vec<_> = stanzas(index).collect();
        assert_eq!((found.len(), found[0].essential, found[0].source), (2, true, Some("dash-src")));
        assert_eq!(found[0].lock("debian", true).unwrap().size, 5);
        assert!(found[1].lock("debian", true).is_err());
        let output = "Reading...\nInst libc6:amd64 (2.41-12 Debian:13.2/stable [amd64])\nInst a [1] (2 D [all])\nConf libc6 (2.41-12 D)\n";
        assert_eq!(simulated(output), [("libc6", "2.41-12"), ("a", "2")]);
    }
}
