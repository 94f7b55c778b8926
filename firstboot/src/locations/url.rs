//! A URL on the kernel command line: `firstboot.config=https://…`, and `firstboot.config-sha256=…` to pin its
//! contents. Plain http is allowed only with a pinned digest: anyone on the path can change it.
//!
//! The URL may contain variables of the machine ([`super::variables`]), so that one boot entry serves many
//! machines: `https://boot.example/${mac}.yaml`.

use ring::digest::{SHA256, digest};

use super::{LocationContext, inline, variables};
use crate::document::{Document, LIMIT, UserData};
use crate::error::{ErrorKind, Failure, Result};
use crate::evidence::seed::Seed;
use crate::evidence::{CommandLine, Field, smbios};
use crate::host::root::Root;
use crate::net::{self, Endpoint};
use crate::text::hex;

/// The kernel argument.
pub(crate) const URL: &str = "firstboot.config";
/// The kernel argument that pins the contents of a URL.
pub(crate) const DIGEST: &str = "firstboot.config-sha256";

/// The URL on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Asked {
    url: String,
    /// Lower-case hex.
    digest: Option<String>,
}

/// The server of the URL that the command line names.
pub fn server(root: &Root, command_line: &CommandLine) -> Result<Option<Endpoint>> {
    let Some(url) = command_line.value(URL) else { return Ok(None) };
    net::url::server(&expanded(root, command_line, url)?).map(Some).map_err(wrong)
}

fn expanded(root: &Root, command_line: &CommandLine, url: &str) -> Result<String> {
    let value = |name: &str| variables::of_machine(root, command_line, name);
    variables::expand(url, "${", "}", &value)
        .map_err(|failure| failure.doing(format!("the kernel argument {URL}")))
}

pub(super) fn find(context: &LocationContext, _: &mut Vec<String>) -> Result<Option<UserData>> {
    let Some(asked) = parse(context.command_line, &|| firmware_names_seed(context.root))? else {
        return Ok(None);
    };
    let url = expanded(context.root, context.command_line, &asked.url)?;
    get(&url, asked.digest.as_deref(), &|url| (context.fetch)(url, context.deadline))
}

/// Downloads the user data at `url`, which must have the SHA-256 `pinned`. None when it is blank.
pub(crate) fn get(
    url: &str,
    pinned: Option<&str>,
    fetch: &dyn Fn(&str) -> Result<Document>,
) -> Result<Option<UserData>> {
    let shown = net::url::shown(url);
    let document =
        fetch(url).map_err(|failure| failure.doing(format!("getting the node config from {shown}")))?;
    if document.bytes().len() > LIMIT {
        return Err(Failure::new(
            ErrorKind::Source,
            format!("what {shown} gives is longer than {LIMIT} bytes"),
        ));
    }
    if let Some(expected) = pinned {
        let found = hex(digest(&SHA256, document.bytes()).as_ref());
        if found != expected {
            let message = format!("what {shown} gives is not what {DIGEST} pins: its SHA-256 is {found}");
            return Err(Failure::new(ErrorKind::Untrusted, message)
                .help("pin the digest of the file that the server has now, or restore that file"));
        }
    }
    Ok(UserData::new(document, shown))
}

fn firmware_names_seed(root: &Root) -> bool {
    smbios::text(root, Field::ProductSerial.name())
        .as_deref()
        .and_then(Seed::in_serial)
        .is_some()
}

/// Reads the command line. The last of several wins, as with the kernel's own arguments; anything unclear is
/// refused. The digest may belong to a NoCloud seed that the command line or the firmware (`has_seed`) names.
fn parse(line: &CommandLine, has_seed: &dyn Fn() -> bool) -> Result<Option<Asked>> {
    let pinned = pinned_digest(line)?;
    let Some(url) = line.value(URL).map(str::to_owned) else {
        let is_for_another = || line.words().iter().any(|word| Seed::parse(word).is_some()) || has_seed();
        return if pinned.is_some() && !is_for_another() {
            Err(wrong(format!("{DIGEST} is there without {URL}")))
        } else {
            Ok(None)
        };
    };
    if line.value(inline::ARGUMENT).is_some() {
        return Err(wrong(format!("{URL} and {} exclude each other", inline::ARGUMENT)));
    }
    check_scheme(&url, pinned.is_some(), "the kernel command line: firstboot.config", DIGEST, "the file")?;
    Ok(Some(Asked { url, digest: pinned }))
}

/// The digest that the command line pins, in lower-case hex.
pub(crate) fn pinned_digest(line: &CommandLine) -> Result<Option<String>> {
    line.value(DIGEST).map(|text| sha256(text, DIGEST).map_err(wrong)).transpose()
}

/// The SHA-256 that the argument or option `name` gives, in lower-case hex.
pub(crate) fn sha256(text: &str, name: &str) -> std::result::Result<String, String> {
    let digest = text.strip_prefix("sha256:").unwrap_or(text).to_ascii_lowercase();
    if digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        Ok(digest)
    } else {
        Err(format!("{name} is no SHA-256 of 64 hex digits"))
    }
}

/// Refuses a URL that anyone on the path could change; `named_by` describes its origin for the error, and
/// `pin` the argument that pins `file`.
pub(crate) fn check_scheme(url: &str, is_pinned: bool, named_by: &str, pin: &str, file: &str) -> Result<()> {
    let scheme = url.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    match scheme.as_deref() {
        Some("https") => Ok(()),
        Some("http") if is_pinned => Ok(()),
        Some("http") => Err(Failure::new(
            ErrorKind::Source,
            format!("{named_by} names plain http, which anyone on the way can change"),
        )
        .help(format!("use https, or pin {file}: {pin}=<output of sha256sum>"))),
        _ => {
            Err(Failure::new(ErrorKind::Source, format!("{named_by} names neither an https nor an http URL")))
        }
    }
}

fn wrong(message: String) -> Failure {
    Failure::new(ErrorKind::Source, format!("the kernel command line: {message}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn the_command_line_is_read() {
        let asked = |url: &str, digest: Option<&str>| {
            Ok(Some(Asked { url: url.to_owned(), digest: digest.map(str::to_owned) }))
        };
        for (line, expected) in [
            ("quiet root=x".to_owned(), Ok(None)),
            ("firstboot.config=https://a/b".to_owned(), asked("https://a/b", None)),
            ("firstboot.config=https://a/b firstboot.config=HTTPS://c".to_owned(), asked("HTTPS://c", None)),
            (
                format!(
                    "\"firstboot.config=http://a/b c\" firstboot.config-sha256=sha256:{}",
                    HEX.to_uppercase()
                ),
                asked("http://a/b c", Some(HEX)),
            ),
            ("-- firstboot.config=https://a".to_owned(), Ok(None)),
            ("xfirstboot.config=https://a firstboot.configs=b".to_owned(), Ok(None)),
        ] {
            assert_eq!(parse(&CommandLine::parse(&line), &|| false), expected, "{line}");
        }
    }

    #[test]
    fn what_is_unclear_is_refused() {
        for (line, expected) in [
            ("firstboot.config=http://a/b", "plain http"),
            ("firstboot.config=ftp://a/b", "neither"),
            ("firstboot.config=", "neither"),
            ("firstboot.config=/etc/x", "neither"),
            ("firstboot.config=http://a firstboot.config-sha256=", "no SHA-256"),
            ("firstboot.config=https://a firstboot.config-sha256=abc", "no SHA-256"),
            (&format!("firstboot.config-sha256={HEX}"), "without"),
            ("firstboot.config=https://a firstboot.config-inline=e30=", "exclude each other"),
        ] {
            let failure = parse(&CommandLine::parse(line), &|| false).unwrap_err();
            assert!(
                failure.message.contains(expected) && failure.kind == ErrorKind::Source,
                "{line}: {failure}"
            );
        }
    }
}
