//! The trust policy: whose facts, node configs and secrets the machine accepts. The builder bakes it into the
//! image, from the table `[metadata]` of the definition.
//!
//! ```json
//! {"platform": "ec2", "facts": ["ec2"], "config": ["ec2", "url"], "secrets": ["token-url"], "signed-by": ["RW…"], "rejoin": false, "guard": true}
//! ```
//!
//! A missing field restricts nothing: without the file, every platform and location is allowed. All else
//! fails closed: a file that cannot be read, an unknown field or name.

use contract::public_key::PublicKey;
use contract::trust_policy::{Invalid, TrustPolicyFile};

use crate::error::{ErrorKind, Failure, Result};
use crate::host::files;
use crate::host::root::Root;
use crate::userdata::Trust;

/// Longest file.
const LONGEST: u64 = 64 * 1024;

/// A trust policy with valid names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustPolicy {
    /// The platform that is pinned.
    pub platform: Option<String>,
    pub(crate) facts: Option<Vec<String>>,
    pub(crate) config: Option<Vec<String>>,
    pub(crate) secrets: Option<Vec<String>>,
    /// Which user data counts.
    pub trust: Trust,
    /// Whether a machine that has joined follows a config from another source or of another cluster.
    pub rejoin: bool,
    /// Whether the metadata guard is on; none to leave that to the config.
    pub guard: Option<bool>,
}

impl Default for TrustPolicy {
    fn default() -> Self {
        Self {
            platform: None,
            facts: None,
            config: None,
            secrets: None,
            trust: Trust::Any,
            rejoin: false,
            guard: None,
        }
    }
}

impl TrustPolicy {
    /// The policy of the machine whose files begin at `root`.
    pub fn of(root: &Root) -> Result<Self> {
        let path = format!("/{}", contract::POLICY);
        let doing = |failure: Failure| Failure {
            kind: ErrorKind::Config,
            ..failure.doing(format!("the image's trust policy {path}"))
        };
        match files::read(&root.path(&path), LONGEST).map_err(doing)? {
            Some(bytes) => Self::parse(&bytes).map_err(doing),
            None => Ok(Self::default()),
        }
    }

    /// Reads the file's bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let wrong = |message: String| {
            Failure::new(ErrorKind::Config, message)
                .help("correct [metadata] in the image's definition, and build it again")
        };
        // A list would be read as the fields in their order, and an empty one as no restriction.
        if bytes.trim_ascii_start().first() != Some(&b'{') {
            return Err(wrong("it is no JSON object".to_owned()));
        }
        let file: TrustPolicyFile =
            serde_json::from_slice(bytes).map_err(|error| wrong(error.to_string()))?;
        Self::check(file).map_err(|error| wrong(format!("{}: {}; {}", error.key, error.message, error.help)))
    }

    /// The policy in `file`, if it is valid.
    fn check(file: TrustPolicyFile) -> std::result::Result<Self, Invalid> {
        let trust = file.check()?.map_or(Trust::Any, Trust::SignedBy);
        let TrustPolicyFile { platform, facts, config, secrets, rejoin, guard, .. } = file;
        Ok(Self { platform, facts, config, secrets, trust, rejoin: rejoin.unwrap_or_default(), guard })
    }

    /// Whether the facts of this platform are allowed.
    pub fn allows_facts(&self, platform: &str) -> bool {
        is_in(self.facts.as_ref(), platform)
    }

    /// Whether a node config from this platform or location is allowed.
    pub fn allows_config(&self, name: &str) -> bool {
        is_in(self.config.as_ref(), name)
    }

    /// Whether tokens from this platform or location, or from
    /// [`TOKEN_URL`](contract::trust_policy::TOKEN_URL), are allowed.
    pub fn allows_secrets(&self, name: &str) -> bool {
        is_in(self.secrets.as_ref(), name)
    }

    /// Refuses a credential from `origin`: a platform, a location, or the token server.
    pub fn check_secret(&self, what: &str, origin: &str) -> Result<()> {
        if self.allows_secrets(origin) {
            return Ok(());
        }
        let allowed = match self.secrets.as_deref().unwrap_or_default() {
            [] => "no source".to_owned(),
            names => names.join(", "),
        };
        let message =
            format!("{what} is not accepted: the image's trust policy does not allow secrets from {origin}");
        Err(Failure::new(ErrorKind::Untrusted, message).help(format!("secrets may come from: {allowed}")))
    }

    /// Whether anything from this platform is allowed. Otherwise it is not even asked.
    pub fn allows(&self, platform: &str) -> bool {
        self.allows_facts(platform) || self.allows_config(platform)
    }

    /// A sentence for each restriction.
    pub fn sentences(&self) -> Vec<String> {
        let list = |what: &str, names: &Option<Vec<String>>| {
            names.as_ref().map(|names| {
                format!(
                    "{what} only from {}",
                    if names.is_empty() { "no source".to_owned() } else { names.join(", ") }
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
        let rejoin = self
            .rejoin
            .then(|| "a machine that has joined follows any config that is accepted".to_owned());
        let pinned = self.platform.as_ref().map(|name| format!("the platform is {name}"));
        let lists =
            [list("facts", &self.facts), list("config", &self.config), list("secrets", &self.secrets)];
        pinned
            .into_iter()
            .chain(lists.into_iter().flatten())
            .chain(signed)
            .chain(rejoin)
            .chain(guard)
            .collect()
    }
}

fn is_in(names: Option<&Vec<String>>, name: &str) -> bool {
    names.is_none_or(|names| names.iter().any(|each| each == name))
}

#[cfg(test)]
#[path = "trust_policy_tests.rs"]
mod tests;
