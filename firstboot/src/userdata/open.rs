//! Opens one level of packing after another until there are node configs.

use super::bounds::{Budget, text, wrong};
use super::elsewhere::{self, Elsewhere};
use super::embedded::HostConfig;
use super::files::{content, settle};
use super::kind::{Kind, kind};
use super::mime::{self, Part};
use super::pointer::{self, Pointer};
use super::signature::{self, Trust};
use super::{Env, ParsedUserData, cloud_config, ignition, jinja, unpack};
use crate::document::Document;
use crate::error::{Failure, Result};

/// The limit of nested levels: a part within a message within gzip within base64, and one more.
const NESTING: usize = 6;
/// Notices at most.
const NOTICES: usize = 64;
/// The most pointers side by side.
const POINTERS: usize = 4;

/// Opens user data. `signature` is a signature that the platform stores beside it.
pub fn open(bytes: &[u8], signature: Option<&str>, env: &Env) -> Result<ParsedUserData> {
    let mut parser =
        Parser { env, budget: Budget::default(), pointers: 0, parsed: ParsedUserData::default() };
    let scope = Scope { depth: 0, is_fetched: false, is_signed: false, missing: &[] };
    let is_signed = match signature {
        Some(signature) => parser.is_signed(&[bytes], signature)?,
        None => false,
    };
    parser.data(bytes, Scope { is_signed, ..scope })?;
    let mut parsed = parser.parsed;
    parsed.files = settle(parsed.files)?.into_vec();
    Ok(parsed)
}

/// The context of a part.
#[derive(Clone, Copy)]
struct Scope<'a> {
    depth: usize,
    /// Whether it comes from a pointer's URL.
    is_fetched: bool,
    /// Whether a signature covers it.
    is_signed: bool,
    /// The expressions without a value in the template around it.
    missing: &'a [Failure],
}

impl Scope<'_> {
    fn deeper(self) -> Result<Self> {
        if self.depth == NESTING {
            return Err(wrong(format!("there are more than {NESTING} layers around each other")));
        }
        Ok(Self { depth: self.depth + 1, ..self })
    }
}

/// How a part is handled, by its type.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Treatment {
    /// It must be a node config, or a pointer to one.
    Ours,
    /// It is used if it is a node config.
    NodeConfig,
    CloudConfig,
    Ignition,
    /// It is recognised by its content.
    Open,
    /// It is the signature of the part before it.
    Signature,
}

/// The types of parts. All other types are left to cloud-init, whose own types are listed by `cloud-init
/// devel make-mime --list-types`.
const TYPES: &[(&str, Treatment)] = &[
    ("application/x-firstboot-config", Treatment::Ours),
    ("application/x-minisign", Treatment::Signature),
    ("application/yaml", Treatment::NodeConfig),
    ("application/x-yaml", Treatment::NodeConfig),
    ("text/yaml", Treatment::NodeConfig),
    ("text/x-yaml", Treatment::NodeConfig),
    ("application/json", Treatment::NodeConfig),
    ("text/cloud-config", Treatment::CloudConfig),
    ("text/jinja2", Treatment::Open),
    ("text/cloud-boothook", Treatment::Open),
    ("text/x-include-url", Treatment::Open),
    ("text/x-include-once-url", Treatment::Open),
    ("application/vnd.coreos.ignition+json", Treatment::Ignition),
    ("text/plain", Treatment::Open),
    ("text/x-not-multipart", Treatment::Open),
    ("application/octet-stream", Treatment::Open),
    ("application/gzip", Treatment::Open),
    ("application/x-gzip", Treatment::Open),
    ("application/zstd", Treatment::Open),
];

impl Env<'_> {
    /// Gets what lies elsewhere. Nobody signed it, so an image that requires signatures does not want it.
    fn reach(&self, elsewhere: &Elsewhere) -> Result<Option<Document>> {
        if *self.trust == Trust::Any { (self.follow)(elsewhere) } else { Ok(None) }
    }
}

fn document(bytes: &[u8]) -> Result<Document> {
    content(zeroize::Zeroizing::new(bytes.to_vec()))
}

struct Parser<'a> {
    env: &'a Env<'a>,
    budget: Budget,
    pointers: usize,
    parsed: ParsedUserData,
}

impl Parser<'_> {
    fn data(&mut self, bytes: &[u8], scope: Scope) -> Result<()> {
        let unpack = match kind(bytes) {
            Kind::Gzip => unpack::gzip,
            Kind::Zstd => unpack::zstd,
            Kind::Base64 => unpack::base64,
            Kind::Multipart => {
                let message = mime::message(bytes, &self.budget)?;
                return self.part(&message, scope);
            }
            Kind::Template => return self.template(bytes, scope),
            Kind::CloudConfig => return self.cloud_config(bytes, scope),
            Kind::Ignition => return self.ignition(bytes, scope),
            Kind::NodeConfig => return self.node_config(bytes, scope),
            Kind::Boothook => return self.elsewhere(Elsewhere::Boothook(document(bytes)?), scope),
            Kind::Include => {
                return elsewhere::included(text(bytes)?)
                    .try_for_each(|url| self.elsewhere(Elsewhere::Include(url), scope));
            }
            kind @ (Kind::OtherCloudInit | Kind::Script | Kind::Unknown) => {
                self.notice(format!("what is {} is ignored", kind.word()));
                return Ok(());
            }
        };
        let unpacked = unpack(bytes, &self.budget)?;
        self.data(&unpacked, scope.deeper()?)
    }

    fn notice(&mut self, notice: String) {
        if self.parsed.notices.len() < NOTICES {
            self.parsed.notices.push(notice);
        }
    }

    /// Verifies a signature, if there is a key.
    fn is_signed(&mut self, readings: &[&[u8]], signature: &str) -> Result<bool> {
        let Trust::SignedBy(keys) = self.env.trust else {
            self.notice("a signature is not verified: this image has no key to verify it with".to_owned());
            return Ok(false);
        };
        let signer = signature::verify(keys, readings, signature)?;
        if !self.parsed.signed_by.iter().any(|known| known == signer) {
            self.parsed.signed_by.push(signer.to_owned());
        }
        Ok(true)
    }

    /// Fails unless this part is covered by a signature or needs none.
    fn require_signature(&self, scope: Scope) -> Result<()> {
        match self.env.trust {
            Trust::SignedBy(keys) if !scope.is_signed => Err(signature::unsigned(keys)),
            _ => Ok(()),
        }
    }

    fn template(&mut self, bytes: &[u8], scope: Scope) -> Result<()> {
        self.require_signature(scope)?;
        let rendered = jinja::render(text(bytes)?.trim_start(), self.env.lookup, &self.budget)?;
        self.data(&rendered.text, Scope { missing: &rendered.missing, ..scope.deeper()? })
    }

    fn node_config(&mut self, bytes: &[u8], scope: Scope) -> Result<()> {
        jinja::check(bytes, scope.missing)?;
        if let Some(pointer) = pointer::read(bytes)? {
            return self.follow(&pointer, scope);
        }
        self.require_signature(scope)?;
        self.budget.take(bytes.len())?;
        self.parsed.documents.push(document(bytes)?);
        Ok(())
    }

    fn count_pointer(&mut self) -> Result<()> {
        self.pointers += 1;
        if self.pointers > POINTERS {
            return Err(wrong(format!("there are more than {POINTERS} ConfigPointers or other references")));
        }
        Ok(())
    }

    fn follow(&mut self, pointer: &Pointer, scope: Scope) -> Result<()> {
        if scope.is_fetched {
            return Err(wrong("what a ConfigPointer names is another ConfigPointer")
                .help("point to the user-data itself"));
        }
        self.count_pointer()?;
        // Without a key, a signature cannot be verified.
        let tells = pointer.has_digest() || (pointer.signature.is_some() && *self.env.trust != Trust::Any);
        if !tells {
            return Err(wrong(
                "ConfigPointer: it has no digest, and this image has no key to verify its signature with",
            )
            .help("add sha256: and the output of sha256sum"));
        }
        if pointer.signature.is_none() {
            self.require_signature(scope)?;
        }
        let doing = |failure: Failure| failure.doing(format!("what {} gives", pointer.url));
        let document = (self.env.fetch)(pointer).map_err(|failure| {
            failure.doing(format!("getting the user-data that a pointer names from {}", pointer.url))
        })?;
        pointer.verify(document.bytes())?;
        let is_signed = match &pointer.signature {
            Some(signature) => self.is_signed(&[document.bytes()], signature).map_err(doing)?,
            None => false,
        };
        let scope = Scope {
            is_fetched: true,
            is_signed: is_signed || scope.is_signed,
            missing: &[],
            ..scope.deeper()?
        };
        self.data(document.bytes(), scope).map_err(doing)
    }

    /// Follows what lies elsewhere, or notes that it does.
    fn elsewhere(&mut self, elsewhere: Elsewhere, scope: Scope) -> Result<()> {
        let doing = |failure: Failure| failure.doing(elsewhere.describe());
        if let Some(document) = self.env.reach(&elsewhere).map_err(doing)? {
            self.count_pointer()?;
            let scope = Scope { is_fetched: true, missing: &[], ..scope.deeper()? };
            return self.data(document.bytes(), scope).map_err(doing);
        }
        self.notice(format!("{} and is not followed", elsewhere.describe()));
        self.parsed.elsewhere.push(elsewhere);
        Ok(())
    }

    fn cloud_config(&mut self, bytes: &[u8], scope: Scope) -> Result<()> {
        let host_config =
            cloud_config::read(bytes, &self.budget).map_err(|failure| failure.doing("the cloud-config"))?;
        self.host_config(host_config, scope)
    }

    fn ignition(&mut self, bytes: &[u8], scope: Scope) -> Result<()> {
        let host_config = ignition::read(bytes, &self.budget, &|elsewhere| self.env.reach(elsewhere))
            .map_err(|failure| failure.doing("the Ignition config"))?;
        self.host_config(host_config, scope)
    }

    fn host_config(&mut self, mut host_config: HostConfig, scope: Scope) -> Result<()> {
        let form = host_config.form;
        let doing = |failure: Failure| failure.doing(format!("the {form}"));
        let found = host_config.find(self.env.lookup, &self.budget).map_err(doing)?;
        for elsewhere in std::mem::take(&mut host_config.elsewhere) {
            self.notice(format!("{form}: {} and is not followed", elsewhere.describe()));
            self.parsed.elsewhere.push(elsewhere);
        }
        let Some(embedded) = found else {
            self.notice(format!("the {form} carries no node config and is ignored"));
            return Ok(());
        };
        self.require_signature(scope).map_err(doing)?;
        let texts = embedded
            .files
            .iter()
            .flat_map(|file| [file.content.bytes(), file.path.as_bytes(), file.owner.user.as_bytes()]);
        let texts = texts
            .chain(embedded.document.iter().map(Document::bytes))
            .chain(host_config.hostname.iter().map(String::as_bytes));
        texts.into_iter().try_for_each(|text| jinja::check(text, scope.missing)).map_err(doing)?;
        if host_config.hostname.as_ref().is_some_and(|name| !is_host_name(name)) {
            return Err(doing(wrong("its host name is none")));
        }
        self.parsed.documents.extend(embedded.document);
        if let Some(flags) = embedded.flags {
            self.parsed.take_flags(flags).map_err(doing)?;
        }
        self.parsed.files.extend(embedded.files);
        self.parsed.sentinel = embedded.sentinel.or(self.parsed.sentinel.take());
        self.parsed.hostname = host_config.hostname.or(self.parsed.hostname.take());
        host_config
            .notices
            .into_iter()
            .for_each(|notice| self.notice(format!("{form}: {notice}")));
        Ok(())
    }

    /// A part, or a message with parts.
    fn part(&mut self, part: &Part, scope: Scope) -> Result<()> {
        if !part.is_multipart() {
            return self.treat(part, scope);
        }
        let scope = scope.deeper()?;
        let parts = part.parts(&self.budget)?;
        let is_signature = |part: &Part| treatment(part) == Some(Treatment::Signature);
        let mut is_first = true;
        for (index, part) in parts.iter().enumerate() {
            let doing = |failure: Failure| failure.doing(format!("part {}", index + 1));
            if is_signature(part) {
                if is_first {
                    return Err(doing(wrong(
                        "a signature stands behind the part that it signs, and there is none",
                    )));
                }
                is_first = true;
                continue;
            }
            is_first = false;
            let signature = parts.get(index + 1).filter(|next| is_signature(next));
            let is_signed = match signature {
                Some(signature) => {
                    let signature = text(signature.content()).map_err(doing)?;
                    self.is_signed(&[part.content(), part.with_line_break()], signature).map_err(doing)?
                }
                None => false,
            };
            let notices = self.parsed.notices.len();
            self.part(part, Scope { is_signed: is_signed || scope.is_signed, ..scope })
                .map_err(doing)?;
            let new = self.parsed.notices.iter_mut().skip(notices);
            new.for_each(|notice| *notice = format!("part {}: {notice}", index + 1));
        }
        Ok(())
    }

    fn treat(&mut self, part: &Part, scope: Scope) -> Result<()> {
        let bytes = part.content();
        match treatment(part) {
            Some(Treatment::Ours) => {
                let before = self.parsed.documents.len();
                self.data(bytes, scope)?;
                if self.parsed.documents.len() == before {
                    return Err(wrong(
                        "a part of the type application/x-firstboot-config holds no node config",
                    ));
                }
                Ok(())
            }
            Some(Treatment::NodeConfig) if kind(bytes) == Kind::NodeConfig => self.node_config(bytes, scope),
            // The type says what it is if it has no header.
            Some(Treatment::CloudConfig) if matches!(kind(bytes), Kind::Unknown | Kind::NodeConfig) => {
                self.cloud_config(bytes, scope)
            }
            Some(Treatment::Ignition) => self.ignition(bytes, scope),
            Some(Treatment::Open | Treatment::CloudConfig) => self.data(bytes, scope),
            Some(Treatment::NodeConfig | Treatment::Signature) | None => {
                self.notice("it has another type and is ignored".to_owned());
                Ok(())
            }
        }
    }
}

/// Whether it is a valid host name (RFC 1123, section 2.1).
fn is_host_name(name: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

fn treatment(part: &Part) -> Option<Treatment> {
    TYPES.iter().find(|(name, _)| *name == part.media_type).map(|(_, treatment)| *treatment)
}

#[cfg(test)]
#[path = "open_tests.rs"]
mod tests;
