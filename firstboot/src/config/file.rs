//! The bytes of a node config that a person names.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::SIZE_LIMIT;
use crate::error::{Context, ErrorKind, Failure, Result};

/// Reads `path`; `-` is standard input. Stops one byte after the limit: the parser refuses what is too large.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    if path == Path::new("-") {
        return read_bounded(io::stdin().lock(), "standard input");
    }
    let name = path.display().to_string();
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(Failure::new(ErrorKind::Config, format!("there is no file {name}")))
        }
        _ if path.is_dir() => {
            Err(Failure::new(ErrorKind::Config, format!("{name} is a folder")).help("name the file itself"))
        }
        file => read_bounded(file.doing(format!("reading {name}"))?, &name),
    }
}

fn read_bounded(input: impl Read, name: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    input
        .take(SIZE_LIMIT as u64 + 1)
        .read_to_end(&mut bytes)
        .doing(format!("reading {name}"))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_and_a_missing_file_are_mistakes_of_the_user_and_not_of_the_machine() {
        let folder = tempfile::tempdir().unwrap();
        for (path, expected) in
            [(folder.path().to_owned(), "is a folder"), (folder.path().join("x"), "there is no file")]
        {
            let failure = read(&path).unwrap_err();
            assert!(failure.kind == ErrorKind::Config && failure.message.contains(expected), "{failure}");
        }
    }
}
