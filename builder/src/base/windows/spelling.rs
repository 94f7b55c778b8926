//! Names of a base that differ in case alone. NTFS can hold them (ntfs-3g and the Subsystem for Linux make
//! such), and which of them Windows opens is not defined.

use std::collections::BTreeMap;

use crate::definition::windows::names::{DRIVE, folded};
use crate::error::{Error, ErrorKind, Result};

/// Paths that are there in two spellings, by the form in which paths are compared.
#[derive(Debug, Default)]
pub struct Spellings(BTreeMap<String, [String; 2]>);

impl Spellings {
    /// Those among these paths, which have `\` between their parts.
    pub fn of<'a>(paths: impl IntoIterator<Item = &'a str>) -> Self {
        let (mut spelled, mut twice) = (BTreeMap::new(), BTreeMap::new());
        for path in paths.into_iter().map(|path| path.trim_start_matches('\\')) {
            let first = *spelled.entry(folded(path)).or_insert(path);
            if first != path {
                twice.entry(folded(path)).or_insert_with(|| [first, path].map(str::to_owned));
            }
        }
        Self(twice)
    }

    /// Refuses a path of the image `title` if it, or a folder above it, is there in two spellings.
    ///
    /// # Errors
    /// [`ErrorKind::Archive`].
    pub fn check(&self, title: &str, path: &str) -> Result<()> {
        let ends = path.match_indices('\\').map(|(end, _)| end).chain([path.len()]);
        let found = ends.filter_map(|end| self.0.get(&folded(&path[..end]))).next();
        let Some([one, other]) = found else { return Ok(()) };
        let message = format!(
            "{title} has both {DRIVE}{one} and {DRIVE}{other}, so it is not certain what {DRIVE}{path} is: \
             they are one name to Windows"
        );
        Err(Error::new(ErrorKind::Archive, message).help("remove one of the two from the base"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_in_two_spellings_is_refused_with_what_is_below_it() {
        let spellings = Spellings::of([r"\Foo", r"\Foo\a", r"\foo", r"\k", r"\k\X.txt", r"\k\x.TXT"]);
        for (path, says) in
            [(r"foo\new", r"both C:\Foo and C:\foo"), (r"K\x.txt", r"both C:\k\X.txt and C:\k\x.TXT")]
        {
            let error = spellings.check("x.wim", path).unwrap_err();
            assert!(error.message().contains(says), "{error}");
        }
        for path in [r"k\y.txt", "Food", r"k\x.txt2"] {
            spellings.check("x.wim", path).unwrap();
        }
    }
}
