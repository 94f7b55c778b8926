//! Opens one level of packing after another until there are node configs.

use super::bounds::{Budget, Bytes, text, wrong};
use super::elsewhere::{self, Elsewhere};
use super::embedded::may_join;
use super::files::content;
use super::gathered::{Gathered, located};
use super::kind::{Kind, kind};
use super::mime::{self, Part};
use super::pointer::{self, Pointer};
use super::signature::{self, Trust};
use super::{Env, ParsedUserData, archive, data_url, ignition, jinja, unpack};
use crate::document::Document;
use crate::error::{ErrorKind, Failure, Result};

/// The limit of nested levels: a part within a message within gzip within base64, and one more.
const NESTING: usize = 6;
/// The most pointers side by side.
const POINTERS: usize = 4;

/// Opens user data. `signature` is a signature that the platform stores beside it.
pub fn open(bytes: &[u8], signature: Option<&str>, env: &Env) -> Result<ParsedUserData> {
    let mut parser = Parser {
        env,
        budget: Budget::default(),
        pointers: 0,
        place: Vec::new(),
        gathered: Gathered::default(),
    };
    let opened = parser.all(bytes, signature);
    let parsed = parser.gathered.parsed;
    opened.map_err(|failure| failure.after(&parsed.notices)).map(|()| parsed)
}

/// The context of a part.
#[derive(Clone, Copy)]
struct Scope {
    depth: usize,
    /// Whether it comes from a pointer's URL.
    is_fetched: bool,
    /// Whether a signature covers it.
    is_signed: bool,
}

impl Scope {
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
    /// It is a cloud-config although it has no header.
    CloudConfig,
    Ignition,
    /// It is the signature of the part before it.
    Signature,
}

/// The types of parts that say what the content does not. All others are told by their content, because
/// labels are often wrong.
const TYPES: &[(&str, Treatment)] = &[
    ("application/x-firstboot-config", Treatment::Ours),
    ("application/x-minisign", Treatment::Signature),
    ("text/cloud-config", Treatment::CloudConfig),
    ("application/vnd.coreos.ignition+json", Treatment::Ignition),
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
    /// The part that is read: `part 2`.
    place: Vec<String>,
    gathered: Gathered,
}

impl Parser<'_> {
    fn all(&mut self, bytes: &[u8], signature: Option<&str>) -> Result<()> {
        let is_signed = match signature {
            Some(signature) => self.is_signed(&[bytes], signature)?,
            None => false,
        };
        let opened = self.data(bytes, Scope { depth: 0, is_fetched: false, is_signed });
        self.tolerate(opened, bytes)?;
        self.gathered.finish(self.env, &self.budget)
    }

    fn data(&mut self, bytes: &[u8], scope: Scope) -> Result<()> {
        let unpack = match kind(bytes) {
            Kind::Gzip => unpack::gzip,
            Kind::Zstd => unpack::zstd,
            Kind::Base64 => unpack::base64_of_any_alphabet,
            Kind::Utf16 => unpack::utf16,
            Kind::DataUrl => |bytes: &[u8], budget: &Budget| data_url::decode(text(bytes)?.trim(), budget),
            Kind::Multipart => {
                let message = mime::message(bytes, &self.budget)?;
                return self.part(&message, scope);
            }
            Kind::Template => return self.template(bytes, scope),
            Kind::CloudConfig => return self.cloud_config(bytes, None, scope),
            Kind::CloudConfigPatch => return self.cloud_config_patch(bytes, scope),
            Kind::CloudConfigArchive => return self.archive(bytes, scope),
            Kind::Ignition => return self.ignition(bytes, scope),
            Kind::NodeConfig => return self.node_config(bytes, scope),
            Kind::Boothook => return self.elsewhere(Elsewhere::Boothook(document(bytes)?), scope),
            Kind::Include => {
                return elsewhere::included(text(bytes)?)
                    .try_for_each(|url| self.elsewhere(Elsewhere::Include(url), scope));
            }
            Kind::Script => {
                return self.signed(bytes, "the script", scope, |parser| {
                    let place = parser.place();
                    parser.gathered.add_script(&place, bytes);
                    Ok(())
                });
            }
            Kind::OtherCloudInit => {
                self.ignore("what is for cloud-init alone is ignored", "content for cloud-init alone", bytes);
                return Ok(());
            }
            Kind::WindowsScript => {
                self.ignore("a script of Windows is not run, and is ignored", "a script of Windows", bytes);
                return Ok(());
            }
            Kind::Unknown => return self.unknown(bytes),
        };
        let unpacked = unpack(bytes, &self.budget)?;
        self.data(&unpacked, scope.deeper()?)
    }

    /// `part 2`, or nothing.
    fn place(&self) -> String {
        self.place.join(": ")
    }

    fn notice(&mut self, notice: &str) {
        let place = self.place();
        self.gathered.notice(&place, notice);
    }

    /// The only way to leave content out.
    fn ignore(&mut self, notice: &str, what: &str, bytes: &[u8]) {
        let place = self.place();
        self.gathered.ignore(&place, notice, what, bytes);
    }

    /// Content that is none of the forms.
    fn unknown(&mut self, bytes: &[u8]) -> Result<()> {
        if let Some(packing) = unpack::foreign(bytes) {
            return Err(wrong(format!("it is packed with {packing}, which is not unpacked"))
                .help("compress it with gzip or zstd"));
        }
        let Some((looks_like, help)) = looks_like(bytes) else {
            self.ignore(
                "what is of a kind that is not known is ignored",
                "content of a kind that is not known",
                bytes,
            );
            return Ok(());
        };
        Err(wrong(format!("it looks like {looks_like}")).help(help))
    }

    /// Ignores the failure of a part that does not seem to be meant to join. It counts if nothing else is
    /// found.
    fn tolerate(&mut self, read: Result<()>, bytes: &[u8]) -> Result<()> {
        match read {
            Err(failure) if failure.kind == ErrorKind::Config && !may_join(bytes) => {
                self.notice(&format!("it is ignored: {failure}"));
                let failure = located(&self.place(), failure);
                self.gathered.skipped.get_or_insert(failure);
                Ok(())
            }
            read => read,
        }
    }

    /// Reads a part if a signature covers it or none is needed. Other parts are ignored, unless they seem to
    /// be meant to join.
    fn signed(
        &mut self,
        bytes: &[u8],
        form: &str,
        scope: Scope,
        read: impl FnOnce(&mut Self) -> Result<()>,
    ) -> Result<()> {
        match self.require_signature(scope) {
            Ok(()) => read(self).map_err(|failure| failure.doing(form)),
            Err(unsigned) if may_join(bytes) => Err(unsigned.doing(form)),
            Err(_) => {
                self.notice(&format!("{form} is not signed and is ignored"));
                Ok(())
            }
        }
    }

    /// Verifies a signature, if there is a key.
    fn is_signed(&mut self, readings: &[&[u8]], signature: &str) -> Result<bool> {
        let Trust::SignedBy(keys) = self.env.trust else {
            self.notice("a signature is not verified: this image has no key to verify it with");
            return Ok(false);
        };
        let signer = signature::verify(keys, readings, signature)?;
        if !self.gathered.parsed.signed_by.iter().any(|known| known == signer) {
            self.gathered.parsed.signed_by.push(signer.to_owned());
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
        let mut text_of = Bytes::default();
        self.signed(bytes, "the template", scope, |parser| {
            let template = text(bytes)?.trim_start();
            let mut rendered = jinja::render(template, parser.env.names, &parser.budget)?;
            rendered.number_from(parser.gathered.missing.len());
            parser.gathered.missing.append(&mut rendered.missing);
            text_of = rendered.text;
            Ok(())
        })?;
        if text_of.is_empty() { Ok(()) } else { self.data(&text_of, scope.deeper()?) }
    }

    fn node_config(&mut self, bytes: &[u8], scope: Scope) -> Result<()> {
        jinja::check(bytes, &self.gathered.missing)?;
        if let Some(pointer) = pointer::read(bytes)? {
            return self.follow(&pointer, scope);
        }
        self.require_signature(scope)?;
        self.budget.take(bytes.len())?;
        let place = self.place();
        self.gathered.add_document(&place, document(bytes)?);
        Ok(())
    }

    fn count_pointer(&mut self) -> Result<()> {
        self.pointers += 1;
        if self.pointers > POINTERS {
            return Err(wrong(format!("there are more than {POINTERS} ConfigPointers or other references")));
        }
        Ok(())
    }

    /// Where signatures are required, an unsigned pointer is a stranger's word. It may name a signed file on
    /// the Internet, but must not make this machine ask itself or its platform.
    fn may_fetch(&self, pointer: &Pointer, scope: Scope) -> Result<()> {
        let Trust::SignedBy(keys) = self.env.trust else { return Ok(()) };
        let Some(signature) = &pointer.signature else { return self.require_signature(scope) };
        signature::check_signer(keys, signature).map_err(|failure| failure.doing("ConfigPointer"))?;
        if scope.is_signed || pointer.is_far() {
            return Ok(());
        }
        let message =
            "an unsigned ConfigPointer may only name an https URL that is not of this machine or link";
        Err(Failure::new(ErrorKind::Untrusted, message).help("sign the pointer itself, or use an https URL"))
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
        self.may_fetch(pointer, scope)?;
        let doing = |failure: Failure| failure.doing(format!("what {} gives", pointer.url));
        let document = (self.env.fetch)(pointer).map_err(|failure| {
            failure.doing(format!("getting the user-data that a pointer names from {}", pointer.url))
        })?;
        pointer.verify(document.bytes())?;
        let is_signed = match &pointer.signature {
            Some(signature) => self.is_signed(&[document.bytes()], signature).map_err(doing)?,
            None => false,
        };
        let scope = Scope { is_fetched: true, is_signed: is_signed || scope.is_signed, ..scope.deeper()? };
        self.data(document.bytes(), scope).map_err(doing)
    }

    /// Follows what lies elsewhere, or notes that it does.
    fn elsewhere(&mut self, elsewhere: Elsewhere, scope: Scope) -> Result<()> {
        let doing = |failure: Failure| failure.doing(elsewhere.describe());
        if let Some(document) = self.env.reach(&elsewhere).map_err(doing)? {
            self.count_pointer()?;
            let scope = Scope { is_fetched: true, ..scope.deeper()? };
            return self.data(document.bytes(), scope).map_err(doing);
        }
        self.notice(&format!("{} and is not followed", elsewhere.describe()));
        self.gathered.parsed.elsewhere.push(elsewhere);
        Ok(())
    }

    fn cloud_config(&mut self, bytes: &[u8], merge_type: Option<&str>, scope: Scope) -> Result<()> {
        self.signed(bytes, "the cloud-config", scope, |parser| {
            let place = parser.place();
            parser.gathered.add_cloud_config(&place, |merged| merged.add(bytes, merge_type))
        })
    }

    fn cloud_config_patch(&mut self, bytes: &[u8], scope: Scope) -> Result<()> {
        self.signed(bytes, "the cloud-config", scope, |parser| {
            let place = parser.place();
            parser.gathered.add_cloud_config(&place, |merged| merged.patch(bytes))
        })
    }

    fn ignition(&mut self, bytes: &[u8], scope: Scope) -> Result<()> {
        self.signed(bytes, "the Ignition config", scope, |parser| {
            let env = parser.env;
            let config = ignition::read(bytes, &parser.budget, &|elsewhere| env.reach(elsewhere))?;
            let place = parser.place();
            parser.gathered.add_ignition(&place, config);
            Ok(())
        })
    }

    /// `#cloud-config-archive`: a message in YAML.
    fn archive(&mut self, bytes: &[u8], scope: Scope) -> Result<()> {
        let parts = archive::parts(bytes, &self.budget)?;
        self.parts(&parts, scope.deeper()?)
    }

    /// A part, or a message with parts.
    fn part(&mut self, part: &Part, scope: Scope) -> Result<()> {
        if !part.is_multipart() {
            return self.treat(part, scope);
        }
        let parts = part.parts(&self.budget)?;
        for outside in part.outside()? {
            let place = self.place();
            self.gathered.suspect(&place, "text outside of the parts of a message", outside);
        }
        self.parts(&parts, scope.deeper()?)
    }

    fn parts(&mut self, parts: &[Part], scope: Scope) -> Result<()> {
        let is_signature = |part: &Part| treatment(part) == Some(Treatment::Signature);
        let mut is_first = true;
        for (index, part) in parts.iter().enumerate() {
            let name = format!("part {}", index + 1);
            if is_signature(part) {
                if is_first {
                    let message = "a signature stands behind the part that it signs, and there is none";
                    return Err(wrong(message).doing(name));
                }
                is_first = true;
                continue;
            }
            is_first = false;
            self.place.push(name.clone());
            let signature = parts.get(index + 1).filter(|next| is_signature(next));
            let read = self.signed_part(part, signature, scope);
            self.place.pop();
            read.map_err(|failure| failure.doing(name))?;
        }
        Ok(())
    }

    fn signed_part(&mut self, part: &Part, signature: Option<&Part>, scope: Scope) -> Result<()> {
        let is_signed = match signature {
            Some(signature) => {
                let signature = text(signature.content())?;
                self.is_signed(&[part.content(), part.with_line_break()], signature)?
            }
            None => false,
        };
        let read = self.part(part, Scope { is_signed: is_signed || scope.is_signed, ..scope });
        if treatment(part) == Some(Treatment::Ours) {
            return read;
        }
        self.tolerate(read, part.content())
    }

    fn treat(&mut self, part: &Part, scope: Scope) -> Result<()> {
        if let Some(problem) = &part.problem {
            return Err(problem.clone());
        }
        let bytes = part.content();
        let kind = kind(bytes);
        match treatment(part) {
            Some(Treatment::Ours) => {
                let before = self.gathered.count();
                self.data(bytes, scope)?;
                if self.gathered.count() == before {
                    return Err(wrong(
                        "a part of the type application/x-firstboot-config holds no node config",
                    ));
                }
                Ok(())
            }
            Some(Treatment::CloudConfig) if matches!(kind, Kind::Unknown | Kind::CloudConfig) => {
                self.cloud_config(bytes, part.merge_type.as_deref(), scope)
            }
            Some(Treatment::Ignition) if kind == Kind::Unknown => self.ignition(bytes, scope),
            None if kind == Kind::CloudConfig => self.cloud_config(bytes, part.merge_type.as_deref(), scope),
            None if kind == Kind::Unknown && !is_recognisable(bytes) => {
                self.ignore("it has another type and is ignored", "content of another type", bytes);
                Ok(())
            }
            _ => self.data(bytes, scope),
        }
    }
}

/// What content without a header may have been meant to be, and what to do.
fn looks_like(bytes: &[u8]) -> Option<(&'static str, &'static str)> {
    const CLOUD_CONFIG: &[&str] = &["write_files:", "runcmd:", "bootcmd:", "packages:", "users:"];
    const BUTANE: &[&str] = &["variant: flatcar", "variant: fcos", "variant: openshift", "variant: r4e"];
    let text = std::str::from_utf8(bytes).ok()?;
    let has = |starts: &[&str]| text.lines().any(|line| starts.iter().any(|start| line.starts_with(start)));
    if has(BUTANE) {
        return Some(("a Butane config", "translate it to Ignition: run butane"));
    }
    if has(CLOUD_CONFIG) {
        return Some(("a cloud-config without its first line", "its first line must be #cloud-config"));
    }
    is_nearly_a_node_config(text).then_some((
        "a node config without its first lines",
        "write apiVersion: kubeadm.k8s.io/v1beta4 and kind: JoinConfiguration, in these letters",
    ))
}

/// Whether a field of the first level says that it is a JoinConfiguration.
fn is_nearly_a_node_config(text: &str) -> bool {
    text.lines().any(|line| {
        let line = line.trim_start_matches(['{', ' ']).to_ascii_lowercase();
        let key = line.trim_start_matches(['"', '\'']);
        key.starts_with("kind") && line.contains("joinconfiguration")
    })
}

/// Whether it can be said what it is, although it is none of the forms.
fn is_recognisable(bytes: &[u8]) -> bool {
    unpack::foreign(bytes).is_some() || looks_like(bytes).is_some()
}

fn treatment(part: &Part) -> Option<Treatment> {
    TYPES.iter().find(|(name, _)| *name == part.media_type).map(|(_, treatment)| *treatment)
}

#[cfg(test)]
#[path = "open_tests.rs"]
mod tests;
