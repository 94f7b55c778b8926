//! Content that user data names and does not hold: behind a URL, or fetched by a script that the agent does
//! not run.

use super::bounds::wrong;
use super::pointer::Address;
use crate::document::Document;
use crate::error::Failure;

/// Something that lies elsewhere. [`Env::follow`](super::Env::follow) may get it.
#[derive(Debug)]
pub enum Elsewhere {
    /// An Ignition config that another one merges, or is replaced by.
    Ignition {
        /// `ignition.config.replace`
        place: String,
        /// Its URL: `https`, `s3`, or another scheme.
        url: Address,
    },
    /// A line of `#include`.
    Include(Address),
    /// A script that cloud-init runs before it reads anything else. Some fetch the user data.
    Boothook(Document),
}

impl Elsewhere {
    /// `ignition.config.replace is at s3://bucket`
    pub fn describe(&self) -> String {
        match self {
            Self::Ignition { place, url } => format!("{place} is at {url}"),
            Self::Include(url) => format!("an #include names {url}"),
            Self::Boothook(_) => "a boothook is a script".to_owned(),
        }
    }

    /// The error of user data that holds nothing else.
    pub fn refusal(&self) -> Failure {
        let help = match self {
            Self::Ignition { .. } | Self::Include(_) => {
                "hand over the config itself, or name its URL in a ConfigPointer with a digest"
            }
            Self::Boothook(_) => {
                "hand over the config itself; with Cluster API on AWS set cloudInit.insecureSkipSecretsManager"
            }
        };
        wrong(format!("the node config is elsewhere: {}, which this agent does not follow", self.describe()))
            .help(help)
    }
}

/// The URLs of an `#include`: one in a line, or behind the word itself.
pub(super) fn included(text: &str) -> impl Iterator<Item = Address> {
    text.lines().filter_map(|line| {
        let line = line.trim();
        let rest = ["#include-once", "#include"].iter().find_map(|word| {
            line.get(..word.len())
                .filter(|front| front.eq_ignore_ascii_case(word))
                .and_then(|_| line.get(word.len()..))
        });
        let url = rest.unwrap_or(line).trim();
        (!url.is_empty() && !url.starts_with('#')).then(|| Address::new(url))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn included_urls_are_read_and_their_secrets_not_shown() {
        let text =
            "#include https://a/b\n#comment\n\n https://user:canary@c/d?canary \n#Include-Once file:///e";
        let urls: Vec<Address> = included(text).collect();
        assert_eq!(
            urls.iter().map(Address::reveal).collect::<Vec<_>>(),
            ["https://a/b", "https://user:canary@c/d?canary", "file:///e"]
        );
        for url in urls {
            let elsewhere = Elsewhere::Include(url);
            let failure = elsewhere.refusal();
            assert!(!format!("{failure:?}{elsewhere:?}").contains("canary"), "{failure:?}");
        }
    }
}
