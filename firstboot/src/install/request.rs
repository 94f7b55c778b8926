//! What is to be installed, by kernel arguments or by options of the command line.
//!
//! | kernel argument | option | meaning |
//! |---|---|---|
//! | `firstboot.install=SOURCE` | `--image` | the image |
//! | `firstboot.install-sha256=HEX` | `--sha256` | the SHA-256 of its block map; plain http needs it |
//! | `firstboot.install-disk=RULE` | `--disk` | which disk; without it the only one without data |
//! | `firstboot.install-overwrite` | `--overwrite` | the disk may hold data |
//! | `firstboot.install-report=URL` | `--report` | who is told how it goes |
//! | `firstboot.install-then=WORD` | | `reboot`, `poweroff` or `nothing` |

use super::rule::Rule;
use super::source::Source;
use crate::error::{ErrorKind, Failure, Result};
use crate::evidence::CommandLine;
use crate::locations::url::{check_scheme, sha256};
use crate::net::Url;

/// The kernel argument of the image, and the begin of the others.
pub const ARGUMENT: &str = "firstboot.install";
const DIGEST: &str = "firstboot.install-sha256";
const DISK: &str = "firstboot.install-disk";
const OVERWRITE: &str = "firstboot.install-overwrite";
const REPORT: &str = "firstboot.install-report";
const THEN: &str = "firstboot.install-then";

/// An installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The image.
    pub image: Source,
    /// The SHA-256 of its block map, in lower-case hex.
    pub digest: Option<String>,
    /// Which disk.
    pub rule: Option<Rule>,
    /// Whether the disk may hold data.
    pub may_overwrite: bool,
    /// The URL that is told how it goes.
    pub report: Option<String>,
    /// What the machine does afterwards.
    pub then: Then,
}

/// What a machine does after an installation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// Start the installed system.
    Reboot,
    /// Switch itself off.
    PowerOff,
    /// Go on.
    Nothing,
}

impl Then {
    /// What systemd calls it; none for nothing.
    pub fn verb(self) -> Option<&'static str> {
        match self {
            Self::Reboot => Some("reboot"),
            Self::PowerOff => Some("poweroff"),
            Self::Nothing => None,
        }
    }
}

/// The values of a request as they were written.
#[derive(Debug, Clone, Copy, Default)]
pub struct Written<'a> {
    /// The image.
    pub image: &'a str,
    /// The digest of its map.
    pub digest: Option<&'a str>,
    /// The rule for the disk.
    pub disk: Option<&'a str>,
    /// Whether the disk may hold data.
    pub may_overwrite: bool,
    /// Where reports go.
    pub report: Option<&'a str>,
    /// What comes afterwards.
    pub then: Option<&'a str>,
}

impl Request {
    /// What the kernel command line asks for; none if it asks for no installation.
    pub fn of_command_line(line: &CommandLine) -> Result<Option<Self>> {
        let Some(image) = line.value(ARGUMENT) else {
            let begin = format!("{ARGUMENT}-");
            return match line.words().iter().find(|word| word.starts_with(&begin)) {
                None => Ok(None),
                Some(word) => {
                    let name = word.split('=').next().unwrap_or_default();
                    Err(wrong("the kernel command line", format!("{name} is there without {ARGUMENT}")))
                }
            };
        };
        let written = Written {
            image,
            digest: line.value(DIGEST),
            disk: line.value(DISK),
            may_overwrite: line.has(OVERWRITE),
            report: line.value(REPORT),
            then: line.value(THEN),
        };
        Self::of(&written, ARGUMENT, [DIGEST, DISK, REPORT, THEN]).map(Some)
    }

    /// Reads the values of options.
    pub fn of_options(written: &Written<'_>) -> Result<Self> {
        Self::of(written, "--image", ["--sha256", "--disk", "--report", ""])
            .map_err(|failure| Failure { kind: ErrorKind::Usage, ..failure })
    }

    /// `names` are those of the digest, the rule, the reports and of what comes afterwards.
    fn of(written: &Written<'_>, name: &str, names: [&str; 4]) -> Result<Self> {
        let [digest_name, disk_name, report_name, then_name] = names;
        let image = Source::parse(written.image).map_err(|why| wrong(name, why))?;
        let digest = written.digest.map(|text| sha256(text, digest_name)).transpose();
        let digest = digest.map_err(|why| Failure::new(ErrorKind::Config, why))?;
        if let Source::Url(url) = &image {
            check_scheme(url, digest.is_some(), name, digest_name, "the image's .bmap")?;
        }
        let rule = written.disk.map(Rule::parse).transpose().map_err(|why| wrong(disk_name, why))?;
        let report = written.report.map(str::to_owned);
        if let Some(url) = &report {
            url.parse::<Url>().map_err(|why| wrong(report_name, why))?;
        }
        let then = match written.then {
            None | Some("reboot") => Then::Reboot,
            Some("poweroff") => Then::PowerOff,
            Some("nothing") => Then::Nothing,
            Some(_) => return Err(wrong(then_name, "it is reboot, poweroff or nothing".to_owned())),
        };
        Ok(Self { image, digest, rule, may_overwrite: written.may_overwrite, report, then })
    }
}

fn wrong(name: &str, why: String) -> Failure {
    Failure::new(ErrorKind::Config, format!("{name}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn of(line: &str) -> Result<Option<Request>> {
        Request::of_command_line(&CommandLine::parse(line))
    }

    #[test]
    fn the_command_line_is_read() {
        assert_eq!(of("quiet firstboot.config=https://h/x"), Ok(None));
        let request = of(&format!(
            "firstboot.install=http://h/n.raw.zst firstboot.install-sha256={HEX} firstboot.install-overwrite \
             \"firstboot.install-disk=size>=1G,smallest\" firstboot.install-report=http://h/r \
             firstboot.install-then=poweroff"
        ));
        let expected = Request {
            image: Source::Url("http://h/n.raw.zst".to_owned()),
            digest: Some(HEX.to_owned()),
            rule: Some(Rule::parse("size>=1G,smallest").unwrap()),
            may_overwrite: true,
            report: Some("http://h/r".to_owned()),
            then: Then::PowerOff,
        };
        assert_eq!(request, Ok(Some(expected)));
        let request = of("firstboot.install=LABEL=KILN/n.raw.zst").unwrap().unwrap();
        assert_eq!(
            (request.digest, request.rule, request.may_overwrite, request.then),
            (None, None, false, Then::Reboot)
        );
    }

    #[test]
    fn what_is_unclear_is_refused() {
        for (line, expected) in [
            ("firstboot.install=http://h/n.raw", "plain http"),
            ("firstboot.install=n.raw", "neither"),
            ("firstboot.install=https://h/n.raw firstboot.install-sha256=1", "no SHA-256"),
            ("firstboot.install=https://h/n.raw firstboot.install-disk=disk=1", "no condition"),
            ("firstboot.install=https://h/n.raw firstboot.install-then=sleep", "reboot, poweroff or nothing"),
            ("firstboot.install=https://h/n.raw firstboot.install-report=ftp://h", "does not begin with"),
            ("firstboot.install-disk=smallest", "without firstboot.install"),
            ("firstboot.install-overwrite", "without firstboot.install"),
        ] {
            let failure = of(line).unwrap_err();
            assert!(failure.message.contains(expected), "{line}: {failure}");
        }
    }
}
