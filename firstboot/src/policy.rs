//! Whom the machine believes, and for what: a file that the builder bakes into the image, from the table `[metadata]` of its definition.
//!
//! ```json
//! {"platform": "ec2", "facts": ["ec2"], "config": ["ec2", "url"], "secrets": ["token-url"], "signed-by": ["RW…"], "guard": true}
//! ```
//!
//! What is not said is not restricted: without the file, whatever is recognised is believed. Everything else fails closed: a file that cannot
//! be read, a field or a name that is not known.

use serde::{Deserialize, Serialize};

use crate::config::model::{Discovery, NodeConfig};
use crate::config::nearest;
use crate::contract;
use crate::error::{Class, Failure, Result};
use crate::host::files;
use crate::host::root::Root;
use crate::source::{PLACES, SOURCES};
use crate::userdata::{PublicKey, Trust};

/// Stands among `secrets` for the URL that a config names to get its token from.
pub const TOKEN_URL: &str = "token-url";

/// Longest file.
const LONGEST: u64 = 64 * 1024;
/// Names, or keys, in a list at most.
const MOST: usize = 64;

/// A policy as it is written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Written {
    /// The platform, without looking; `none` for no platform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// Sources whose facts are believed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facts: Option<Vec<String>>,
    /// Sources and places whose node config is believed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<Vec<String>>,
    /// Sources and places whose tokens are believed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secrets: Option<Vec<String>>,
    /// Public keys of minisign: only what one of them signed is believed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_by: Option<Vec<String>>,
    /// Whether pods are kept from metadata addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guard: Option<bool>,
}

/// What is wrong with a policy, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// The field.
    pub key: &'static str,
    /// The position in its list.
    pub index: Option<usize>,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: String,
}

/// A policy whose names are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The platform that is pinned.
    pub platform: Option<String>,
    pub(crate) facts: Option<Vec<String>>,
    pub(crate) config: Option<Vec<String>>,
    pub(crate) secrets: Option<Vec<String>>,
    /// Whose user-data is believed.
    pub trust: Trust,
    /// Whether pods are kept from metadata addresses; none to leave that to the config.
    pub guard: Option<bool>,
}

impl Default for Policy {
    fn default() -> Self {
        Self { platform: None, facts: None, config: None, secrets: None, trust: Trust::Any, guard: None }
    }
}

impl Policy {
    /// The policy of the machine whose files begin at `root`.
    pub fn of(root: &Root) -> Result<Self> {
        let path = format!("/{}", contract::POLICY);
        let doing = |failure: Failure| Failure {
            class: Class::Config,
            ..failure.doing(format!("the image's policy {path}"))
        };
        match files::read(&root.path(&path), LONGEST).map_err(doing)? {
            Some(bytes) => Self::parse(&bytes).map_err(doing),
            None => Ok(Self::default()),
        }
    }

    /// Reads the file's bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let wrong = |message: String| Failure::new(Class::Config, message).help("build the image again");
        // A list would be read as the fields in their order, and an empty one as no restriction.
        if bytes.trim_ascii_start().first() != Some(&b'{') {
            return Err(wrong("it is no JSON object".to_owned()));
        }
        let written: Written = serde_json::from_slice(bytes).map_err(|error| wrong(error.to_string()))?;
        Self::check(&written)
            .map_err(|error| wrong(format!("{}: {}; {}", error.key, error.message, error.help)))
    }

    /// Whether everything that is written is known.
    pub fn check(written: &Written) -> std::result::Result<Self, Wrong> {
        let sources = || SOURCES.iter().map(|source| source.name);
        let places = || PLACES.iter().map(|(place, _)| *place);
        if let Some(name) = &written.platform {
            is_one(name, "platform", None, &sources().chain(["none"]).collect::<Vec<_>>())?;
        }
        all(written.facts.as_ref(), "facts", &sources().collect::<Vec<_>>())?;
        all(written.config.as_ref(), "config", &sources().chain(places()).collect::<Vec<_>>())?;
        all(
            written.secrets.as_ref(),
            "secrets",
            &sources().chain(places()).chain([TOKEN_URL]).collect::<Vec<_>>(),
        )?;
        let Written { platform, facts, config, secrets, guard, .. } = written.clone();
        Ok(Self { platform, facts, config, secrets, trust: trust(written)?, guard })
    }

    /// Whether the facts of `source` are believed.
    pub fn believes_facts(&self, source: &str) -> bool {
        is_in(self.facts.as_ref(), source)
    }

    /// Whether the node config of this source or place is believed.
    pub fn believes_config(&self, name: &str) -> bool {
        is_in(self.config.as_ref(), name)
    }

    /// Whether tokens from this source or place, or [`TOKEN_URL`], are believed.
    pub fn believes_secrets(&self, name: &str) -> bool {
        is_in(self.secrets.as_ref(), name)
    }

    /// Refuses a config of `name` whose token is not to come from there.
    pub fn check_secrets(&self, name: &str, config: &NodeConfig) -> Result<()> {
        let by = match &config.join.discovery {
            Discovery::Asked { .. } => TOKEN_URL,
            Discovery::Token { .. } => name,
            _ if config.join.tls_bootstrap_token.is_some() => name,
            Discovery::File(_) | Discovery::Url(_) => return Ok(()),
        };
        if self.believes_secrets(by) {
            return Ok(());
        }
        let believed = self.secrets.as_deref().unwrap_or_default().join(", ");
        let message =
            format!("its token is not believed: by the image's policy, secrets may not come from {by}");
        Err(Failure::new(Class::Untrusted, message).help(format!("give the token by one of: {believed}")))
    }

    /// Whether anything that `source` could say counts: otherwise it is not even asked.
    pub fn believes(&self, source: &str) -> bool {
        self.believes_facts(source) || self.believes_config(source)
    }

    /// A sentence for each restriction, for people.
    pub fn sentences(&self) -> Vec<String> {
        let list = |what: &str, names: &Option<Vec<String>>| {
            names.as_ref().map(|names| {
                format!(
                    "{what} only from {}",
                    if names.is_empty() { "nobody".to_owned() } else { names.join(", ") }
                )
            })
        };
        let signed = match &self.trust {
            Trust::Any => None,
            Trust::SignedBy(keys) => Some(format!(
                "config only signed by {}",
                keys.iter().map(PublicKey::id).collect::<Vec<_>>().join(", ")
            )),
        };
        let guard = self
            .guard
            .map(|guard| format!("pods are {}kept from metadata addresses", if guard { "" } else { "not " }));
        let pinned = self.platform.as_ref().map(|name| format!("the platform is {name}"));
        let lists =
            [list("facts", &self.facts), list("config", &self.config), list("secrets", &self.secrets)];
        pinned.into_iter().chain(lists.into_iter().flatten()).chain(signed).chain(guard).collect()
    }
}

fn is_in(names: Option<&Vec<String>>, name: &str) -> bool {
    names.is_none_or(|names| names.iter().any(|each| each == name))
}

fn all(names: Option<&Vec<String>>, key: &'static str, known: &[&str]) -> std::result::Result<(), Wrong> {
    let names = names.map(Vec::as_slice).unwrap_or_default();
    if names.len() > MOST {
        return Err(Wrong {
            key,
            index: None,
            message: format!("it has more than {MOST} items"),
            help: "leave it out to believe all".to_owned(),
        });
    }
    names
        .iter()
        .enumerate()
        .try_for_each(|(index, name)| is_one(name, key, Some(index), known))
}

fn is_one(
    name: &str,
    key: &'static str,
    index: Option<usize>,
    known: &[&str],
) -> std::result::Result<(), Wrong> {
    if known.contains(&name) {
        return Ok(());
    }
    let shown: String = name.chars().take(40).filter(|letter| !letter.is_control()).collect();
    let help = match nearest::nearest(name, known.iter().copied()) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => format!("valid here: {}", known.join(", ")),
    };
    Err(Wrong { key, index, message: format!("\"{shown}\" is not known"), help })
}

fn trust(written: &Written) -> std::result::Result<Trust, Wrong> {
    const KEY: &str = "signed-by";
    let Some(lines) = &written.signed_by else { return Ok(Trust::Any) };
    if lines.is_empty() || lines.len() > MOST {
        let message = if lines.is_empty() {
            "it has no key: no config could be believed".to_owned()
        } else {
            format!("it has more than {MOST} keys")
        };
        return Err(Wrong {
            key: KEY,
            index: None,
            message,
            help: "name a public key of minisign, or leave it out".to_owned(),
        });
    }
    let key = |(index, line): (usize, &String)| {
        PublicKey::parse(line).map_err(|failure| Wrong {
            key: KEY,
            index: Some(index),
            message: failure.message,
            help: failure.help.unwrap_or_default(),
        })
    };
    lines
        .iter()
        .enumerate()
        .map(key)
        .collect::<std::result::Result<_, _>>()
        .map(Trust::SignedBy)
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
