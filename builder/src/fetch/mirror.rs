//! Decides where to look for a file: mirrors before upstream, and nothing on the network when offline.

use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use reqwest::Url;

use crate::address;
use crate::error::{Error, ErrorKind, Result};

/// A replacement for everything below an upstream prefix: another server, or a local folder.
///
/// The target replaces the prefix of an address: `https://dl.k8s.io=/srv/k8s` turns
/// `https://dl.k8s.io/v1.36.2/x` into `/srv/k8s/v1.36.2/x`, and `https://=/srv` turns it into
/// `/srv/dl.k8s.io/v1.36.2/x`. A prefix matches only whole path components. In a local folder, names are
/// percent-decoded and have no query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    prefix: String,
    to: Place,
}

/// One place that may have a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// On a server, by http or https.
    Server(Url),
    /// In the local file system.
    Local(PathBuf),
}

impl Mirror {
    /// Where this mirror has `url`, if its prefix matches.
    fn place(&self, url: &str) -> Result<Option<Place>> {
        let Some(rest) = url.strip_prefix(&self.prefix) else { return Ok(None) };
        let boundary = rest.is_empty() || rest.starts_with(['/', '?']) || self.prefix.ends_with('/');
        if !boundary {
            return Ok(None);
        }
        let rest = rest.trim_start_matches('/');
        match &self.to {
            whole if rest.is_empty() => Ok(Some(whole.clone())),
            Place::Server(base) => parse(&format!("{}/{rest}", base.as_str().trim_end_matches('/')))
                .map(|url| Some(Place::Server(url))),
            Place::Local(folder) => below(folder, rest).map(|path| Some(Place::Local(path))),
        }
    }

    /// An error if the target is a local path that does not exist: otherwise, after a typo, everything would
    /// come from upstream.
    pub(super) fn check(&self) -> Result<()> {
        match &self.to {
            Place::Local(folder) if !folder.exists() => Err(Error::new(
                ErrorKind::Usage,
                format!("the mirror {} of {} does not exist", folder.display(), self.prefix),
            )),
            _ => Ok(()),
        }
    }
}

impl FromStr for Mirror {
    type Err = Error;

    /// Parses `PREFIX=URL_OR_DIR`. A relative folder is relative to the working directory.
    fn from_str(text: &str) -> Result<Self> {
        let wrong = |what: &str| {
            Error::new(ErrorKind::Usage, format!("mirror \"{}\": {what}", address::shown_alone(text)))
                .help("write --mirror https://dl.k8s.io=URL_OR_DIR")
        };
        let (prefix, to) = text.split_once('=').ok_or_else(|| wrong("there is no \"=\""))?;
        if !["https://", "http://"].iter().any(|scheme| prefix.starts_with(scheme)) {
            return Err(wrong("the prefix begins with neither https:// nor http://"));
        }
        if to.is_empty() {
            return Err(wrong("there is nothing after \"=\""));
        }
        // The same form as in addresses: host in lower case, no default port. A bare scheme is not an address
        // and stays as it is.
        let prefix = match Url::parse(prefix) {
            Ok(url) if !prefix.ends_with('/') => url.as_str().trim_end_matches('/').to_owned(),
            Ok(url) => url.into(),
            Err(_) => prefix.to_owned(),
        };
        let to = if to.contains("://") {
            Place::of(to)?
        } else {
            Place::Local(std::path::absolute(to).map_err(|error| wrong(&error.to_string()))?)
        };
        Ok(Self { prefix, to })
    }
}

impl fmt::Display for Mirror {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.prefix, self.to)
    }
}

impl Place {
    /// The place of an address without any mirror.
    pub(super) fn of(address: &str) -> Result<Self> {
        let url = parse(address)?;
        match url.scheme() {
            "http" | "https" => Ok(Self::Server(url)),
            "file" => url.to_file_path().map(Self::Local).map_err(|()| {
                Error::new(
                    ErrorKind::Usage,
                    format!("\"{}\" is no local path", address::shown_alone(address)),
                )
            }),
            other => {
                let shown = address::shown_alone(address);
                Err(Error::new(ErrorKind::Usage, format!("\"{shown}\": cannot fetch by {other}"))
                    .help("use https, http or file"))
            }
        }
    }

    /// Whether somebody vouches for the bytes: a certificate, or the owner of this machine.
    pub fn is_authenticated(&self) -> bool {
        match self {
            Self::Local(_) => true,
            Self::Server(url) => url.scheme() == "https",
        }
    }

    /// Whether this needs no network.
    pub fn is_local(&self) -> bool {
        matches!(self, Self::Local(_))
    }
}

impl fmt::Display for Place {
    /// The address without its secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(path) => path.display().fmt(f),
            Self::Server(url) => f.write_str(&address::shown(url.as_str())),
        }
    }
}

/// All places that may have a file, best first: for each address the mirrors with the longest matching prefix
/// in their order, then the addresses themselves. If a place lacks the file, the next one is tried. Offline,
/// only local places remain.
pub fn places(urls: &[String], mirrors: &[Mirror], offline: bool) -> Result<Vec<Place>> {
    let mut places = Vec::new();
    for url in urls {
        let url = parse(url)?;
        let mut found = Vec::new();
        for mirror in mirrors {
            if let Some(place) = mirror.place(url.as_str())? {
                found.push((mirror.prefix.len(), place));
            }
        }
        let longest = found.iter().map(|(length, _)| *length).max();
        places
            .extend(found.into_iter().filter(|(length, _)| Some(*length) == longest).map(|(_, place)| place));
    }
    for url in urls {
        places.push(Place::of(url)?);
    }
    let mut seen = Vec::new();
    places.retain(|place| {
        let wanted = (place.is_local() || !offline) && !seen.contains(place);
        seen.push(place.clone());
        wanted
    });
    Ok(places)
}

/// The path of the file at `address` in a folder that mirrors all hosts, where `--mirror https://=FOLDER`
/// looks for it; `None` for a local file.
///
/// # Errors
/// [`ErrorKind::Usage`] if this is no address, or one that no folder can have.
pub fn path_in_mirror(address: &str) -> Result<Option<PathBuf>> {
    let Place::Server(url) = Place::of(address)? else { return Ok(None) };
    let rest = url.as_str().split_once("://").map_or("", |(_, rest)| rest);
    below(Path::new(""), rest).map(Some)
}

fn parse(address: &str) -> Result<Url> {
    Url::parse(address).map_err(|error| {
        let shown = address::shown_alone(address);
        Error::new(ErrorKind::Usage, format!("\"{shown}\" is not an address: {error}"))
    })
}

/// The path of `rest`, the tail of an address, below `folder`. It is never outside `folder`.
fn below(folder: &Path, rest: &str) -> Result<PathBuf> {
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let decoded = parse("file:///")?
        .join(&format!("/{rest}"))
        .ok()
        .and_then(|url| url.to_file_path().ok())
        .ok_or_else(|| Error::new(ErrorKind::Usage, format!("\"{rest}\" is no local path")))?;
    let relative = decoded.strip_prefix("/").unwrap_or(&decoded);
    if relative.components().any(|part| !matches!(part, Component::Normal(_))) {
        return Err(Error::new(
            ErrorKind::Usage,
            format!("\"{rest}\" leads out of the mirror {}", folder.display()),
        ));
    }
    Ok(folder.join(relative))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(url: &str, mirrors: &[&str], offline: bool) -> Vec<String> {
        let mirrors: Vec<Mirror> = mirrors.iter().map(|text| text.parse().unwrap()).collect();
        places(&[url.to_owned()], &mirrors, offline)
            .unwrap()
            .iter()
            .map(Place::to_string)
            .collect()
    }

    #[test]
    fn the_longest_prefix_wins_and_upstream_comes_last() {
        let mirrors = ["https://=/all", "https://dl.k8s.io=/first", "https://dl.k8s.io=http://second/k8s/"];
        let url = "https://dl.k8s.io/v1/x";
        assert_eq!(shown(url, &mirrors, false), ["/first/v1/x", "http://second/k8s/v1/x", url]);
        assert_eq!(shown(url, &mirrors, true), ["/first/v1/x"]);
        assert_eq!(shown("https://github.com/a/b", &mirrors, true), ["/all/github.com/a/b"]);
        assert_eq!(shown("file:///srv/x", &mirrors, true), ["/srv/x"]);
    }

    #[test]
    fn a_prefix_ends_between_components() {
        let url = "https://dl.k8s.io.example/v1/x";
        assert_eq!(shown(url, &["https://dl.k8s.io=/m"], false), [url]);
        assert_eq!(shown("https://dl.k8s.io/v1/x", &["https://DL.k8s.io:443/v1=/m"], true), ["/m/x"]);
        assert_eq!(shown("https://dl.k8s.io/v10/x", &["https://dl.k8s.io/v1=/m"], true), [""; 0]);
        assert_eq!(shown("https://dl.k8s.io/v1/x", &["https://dl.k8s.io/v1/=/m"], true), ["/m/x"]);
        assert_eq!(shown("https://dl.k8s.io/v1/x", &["https://dl.k8s.io/v1/x=/m/y"], true), ["/m/y"]);
    }

    #[test]
    fn all_mirrors_come_before_all_upstreams() {
        let urls = ["https://a/x".to_owned(), "https://b/x".to_owned()];
        let places = places(&urls, &["https://b=/m".parse().unwrap()], false).unwrap();
        assert_eq!(
            places.iter().map(Place::to_string).collect::<Vec<_>>(),
            ["/m/x", "https://a/x", "https://b/x"]
        );
    }

    #[test]
    fn a_mirror_of_all_hosts_has_each_file_where_it_is_looked_for() {
        for url in
            ["https://a.b/v1.0%2Bk3s1/x%20y?z=1", "http://a.b:8443/x", "https://A.b/v2/c/blobs/sha256:00"]
        {
            let path = path_in_mirror(url).unwrap().unwrap();
            let looked_for = shown(url, &["https://=/m", "http://=/m"], true);
            assert_eq!(looked_for, [format!("/m/{}", path.display())]);
        }
        assert_eq!(path_in_mirror("file:///srv/x").unwrap(), None);
        assert!(path_in_mirror("https://a/..%2f..%2fetc").is_err());
    }

    #[test]
    fn local_names_are_decoded_and_stay_inside() {
        assert_eq!(shown("https://a/v1.0%2Bk3s1/x%20y?z=1#f", &["https://a=/m"], true), ["/m/v1.0+k3s1/x y"]);
        assert_eq!(shown("https://a/b/../../../etc/passwd", &["https://a=/m"], true), ["/m/etc/passwd"]);
        let escape =
            places(&["https://a/..%2f..%2fetc".to_owned()], &["https://a=/m".parse().unwrap()], true);
        assert!(escape.unwrap_err().message().contains("leads out"));
    }

    #[test]
    fn wrong_mirrors_say_what_is_wrong() {
        for (text, message) in [
            ("https://dl.k8s.io", "no \"=\""),
            ("dl.k8s.io=/x", "neither"),
            ("https://dl.k8s.io=", "nothing after"),
            ("https://dl.k8s.io=ftp://x", "cannot fetch by ftp"),
        ] {
            assert!(text.parse::<Mirror>().unwrap_err().message().contains(message), "{text}");
        }
        let absent: Mirror = "https://a=/nonexistent/folder".parse().unwrap();
        assert!(absent.check().unwrap_err().message().contains("does not exist"));
    }

    #[test]
    fn passwords_are_not_shown() {
        assert_eq!(Place::of("https://me:secret@a/x").unwrap().to_string(), "https://***@a/x");
        assert_eq!(Place::of("https://a/x?sig=secret").unwrap().to_string(), "https://a/x?sig=***");
        for wrong in
            ["https://a=ftp://me:secret@b", "https//a=https://me:secret@b", "https://a=https://me:secret@b:x"]
        {
            let error = wrong.parse::<Mirror>().unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
