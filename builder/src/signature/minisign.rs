//! minisign's detached signatures (<https://jedisct1.github.io/minisign/>), in the form that hashes the file
//! first: minisign has made no other since 0.10.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use minisign_verify::{PublicKey, Signature};

use crate::error::{Error, ErrorKind, IoContext, Result};

const PIECE: usize = 1 << 16;

/// Which of the public keys `signers` has signed the file at `path`.
///
/// # Errors
/// [`ErrorKind::Verification`] if none has; [`ErrorKind::Io`].
pub(super) fn check(signers: &[&str], signature: &[u8], path: &Path) -> Result<String> {
    let text = std::str::from_utf8(signature).map_err(|_| refuse("it is no text".to_owned()))?;
    let signature = Signature::decode(text).map_err(|error| refuse(error.to_string()))?;
    let mut why = "no key is named that may sign".to_owned();
    for signer in signers {
        let key = PublicKey::from_base64(signer).map_err(|error| refuse(error.to_string()))?;
        match key.verify_stream(&signature) {
            Ok(mut verifier) => {
                each_piece(path, |piece| verifier.update(piece))?;
                match verifier.finalize() {
                    Ok(()) => return Ok((*signer).to_owned()),
                    Err(error) => why = error.to_string(),
                }
            }
            Err(error) => why = error.to_string(),
        }
    }
    Err(refuse(why))
}

fn each_piece(path: &Path, mut act: impl FnMut(&[u8])) -> Result<()> {
    let mut file = File::open(path).at("opening", path)?;
    let mut piece = vec![0; PIECE];
    loop {
        match file.read(&mut piece).at("reading", path)? {
            0 => return Ok(()),
            length => act(&piece[..length]),
        }
    }
}

fn refuse(why: String) -> Error {
    let why = why.trim_end_matches('.');
    Error::new(ErrorKind::Verification, format!("the signature does not count: {why}"))
}
