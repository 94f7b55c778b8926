//! Copies the contents of many files of a tree. Most are slices of the same few files, which stay open in
//! between.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use super::Body;
use crate::error::{Error, ErrorKind, IoContext, Result};

/// Bytes read at once: large enough that system calls cost nothing, small enough to stay in the processor's
/// cache.
const BUFFER: usize = 256 << 10;

/// Reads bodies and keeps the last file open.
#[derive(Debug)]
pub struct Contents {
    last: Option<(Arc<Path>, File)>,
    buffer: Vec<u8>,
}

impl Default for Contents {
    fn default() -> Self {
        Self { last: None, buffer: vec![0; BUFFER] }
    }
}

impl Contents {
    /// Writes all of `body` to `to`; `what` names the file and the output in errors ("writing usr/bin/runc to
    /// layer.tar").
    ///
    /// # Errors
    /// [`ErrorKind::Io`], also if the file is now shorter than the tree says.
    pub fn copy(&mut self, body: &Body, to: &mut dyn Write, what: &dyn Fn() -> String) -> Result<()> {
        let (path, start, len) = match body {
            Body::Inline(bytes) => return to.write_all(bytes).map_err(|error| failed(&error, what)),
            Body::Slice { file, offset, len } => (file, *offset, *len),
        };
        if self.last.as_ref().is_none_or(|(open, _)| open != path) {
            self.last = Some((Arc::clone(path), File::open(path).at("opening", path)?));
        }
        let Some((_, file)) = &self.last else {
            return Err(Error::new(ErrorKind::Internal, "no file is open"));
        };
        let mut done = 0;
        while done < len {
            let wanted = usize::try_from(len - done).map_or(BUFFER, |left| left.min(BUFFER));
            let piece = &mut self.buffer[..wanted];
            file.read_exact_at(piece, start + done).at("reading", path)?;
            to.write_all(piece).map_err(|error| failed(&error, what))?;
            done += wanted as u64;
        }
        Ok(())
    }
}

fn failed(error: &io::Error, what: &dyn Fn() -> String) -> Error {
    Error::io("writing", Path::new(&what()), error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_slices_and_notices_a_file_that_shrank() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        std::fs::write(&path, b"0123456789").unwrap();
        let slice = |offset, len| Body::Slice { file: Arc::from(path.as_path()), offset, len };
        let mut contents = Contents::default();
        let mut out = Vec::new();
        for body in [slice(2, 3), Body::inline(*b"-"), slice(9, 1), slice(0, 0)] {
            contents.copy(&body, &mut out, &|| "out".into()).unwrap();
        }
        assert_eq!(out, b"234-9");
        let error = contents.copy(&slice(8, 3), &mut out, &|| "out".into()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io);
    }
}
