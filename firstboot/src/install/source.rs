//! Where an image is: `http(s)://…/NAME.raw.zst`, `LABEL=VOLUME/path/NAME.raw.zst`, or a file's path. Its
//! block map is beside it: `NAME.raw.bmap`.

use std::path::PathBuf;

/// Where a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// On a server.
    Url(String),
    /// On the file system with this label.
    Disc {
        /// The label.
        label: String,
        /// The path on it, which begins with a slash.
        path: String,
    },
    /// On this machine.
    File(PathBuf),
}

/// How an image is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// Not at all.
    Plain,
    /// gzip, RFC 1952.
    Gzip,
    /// zstd, RFC 8878.
    Zstd,
}

/// The endings of packed images.
const ENDINGS: &[(&str, Packing)] = &[(".zst", Packing::Zstd), (".gz", Packing::Gzip)];

impl Source {
    /// Reads what an operator wrote.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let scheme = text.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
        let source = match (scheme.as_deref(), text.strip_prefix("LABEL=")) {
            (Some("http" | "https"), _) => Self::Url(text.to_owned()),
            (_, Some(rest)) => {
                let (label, path) = rest.split_once('/').filter(|(label, _)| !label.is_empty()).ok_or(
                    "LABEL= wants the label of a file system, a slash, and the path of the image on it",
                )?;
                Self::Disc { label: label.to_owned(), path: format!("/{path}") }
            }
            _ if text.starts_with('/') => Self::File(text.into()),
            _ => {
                return Err(
                    "it is neither http://…, https://…, LABEL=VOLUME/path nor an absolute path".to_owned()
                );
            }
        };
        let is_folder = source.path().0.is_empty() || source.path().0.ends_with('/');
        if is_folder { Err("it names no file".to_owned()) } else { Ok(source) }
    }

    /// The path in it, and where that ends.
    fn path(&self) -> (&str, usize) {
        match self {
            Self::Url(url) => {
                let end = url.find(['?', '#']).unwrap_or(url.len());
                let begin = url.find("://").map_or(0, |at| at + 3);
                let path = url[begin..end].find('/').map_or("", |at| &url[begin + at..end]);
                (path, end)
            }
            Self::Disc { path, .. } => (path, path.len()),
            Self::File(path) => path.to_str().map_or(("", 0), |path| (path, path.len())),
        }
    }

    /// The name of the image: that of its file, without its packing and without `.raw`. On a disc the file
    /// has any name, and the label tells.
    pub fn name(&self) -> &str {
        if let Self::Disc { label, .. } = self {
            return label;
        }
        let name = self.path().0.rsplit('/').next().unwrap_or_default();
        let name = ENDINGS.iter().find_map(|(ending, _)| name.strip_suffix(ending)).unwrap_or(name);
        name.strip_suffix(".raw").unwrap_or(name)
    }

    /// How it is packed, by its name.
    pub fn packing(&self) -> Packing {
        let path = self.path().0;
        ENDINGS
            .iter()
            .find(|(ending, _)| path.ends_with(ending))
            .map_or(Packing::Plain, |found| found.1)
    }

    /// Where its block map is: a URL, or a path in the same place.
    pub fn map(&self) -> String {
        let (path, end) = self.path();
        let packing = ENDINGS.iter().map(|(ending, _)| *ending).find(|ending| path.ends_with(ending));
        let begin = end - packing.map_or(0, str::len);
        let whole = match self {
            Self::Url(url) => url,
            Self::Disc { path, .. } => path,
            Self::File(_) => path,
        };
        format!("{}.bmap{}", &whole[..begin], &whole[end..])
    }

    /// As a message shows it: of a URL the server alone, because the rest may be a secret.
    pub fn shown(&self) -> String {
        match self {
            Self::Url(url) => crate::net::url::shown(url),
            Self::Disc { label, path } => format!("{path} on the disc {label}"),
            Self::File(path) => path.display().to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_map_is_beside_the_image() {
        for (text, map, name, packing) in [
            ("https://h:1/a/n1.raw.zst", "https://h:1/a/n1.raw.bmap", "n1", Packing::Zstd),
            ("HTTP://h/n1.raw.gz?a=b/c.zst", "HTTP://h/n1.raw.bmap?a=b/c.zst", "n1", Packing::Gzip),
            ("http://h/n1.raw", "http://h/n1.raw.bmap", "n1", Packing::Plain),
            ("/x/n1.img.gz", "/x/n1.img.bmap", "n1.img", Packing::Gzip),
        ] {
            let source = Source::parse(text).unwrap();
            assert_eq!(
                (source.map().as_str(), source.name(), source.packing()),
                (map, name, packing),
                "{text}"
            );
        }
        let disc = Source::parse("LABEL=KILN/images/n1.raw.zst").unwrap();
        assert_eq!((disc.map().as_str(), disc.name()), ("/images/n1.raw.bmap", "KILN"));
        assert_eq!(disc, Source::Disc { label: "KILN".to_owned(), path: "/images/n1.raw.zst".to_owned() });
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "n1.raw",
            "ftp://h/n1.raw",
            "LABEL=",
            "LABEL=/n1.raw",
            "LABEL=a",
            "LABEL=a/",
            "http://h",
            "http://h/",
            "/",
        ] {
            assert!(Source::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn of_a_url_the_server_alone_is_shown() {
        assert_eq!(Source::parse("https://h/canary/n1.raw?canary").unwrap().shown(), "https://h");
    }
}
