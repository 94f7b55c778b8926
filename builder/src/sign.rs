//! Signatures by keys that the user names. The keys stay in their files: `openssl` reads them, and neither
//! the lock nor the store nor the manifest has anything of them.

use std::fs;
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::process::{Run, tool};

/// The package of the tool.
const PACKAGE: &str = "openssl";

/// A private key and the certificate that belongs to it, both as PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signer {
    /// The file of the key. Signatures by an RSA key are the same each time, those by an ECDSA key are not.
    pub key: PathBuf,
    /// The file of the certificate.
    pub certificate: PathBuf,
}

impl Signer {
    /// A detached signature of `text` in PKCS#7, DER in base64, without attributes and certificates: the form
    /// that the kernel and systemd check. `scratch` is a private folder.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] when a file is missing; [`ErrorKind::Tool`] when they do not fit each other.
    pub fn pkcs7(&self, text: &str, scratch: &Path) -> Result<String> {
        self.check_files()?;
        let message = scratch.join("to-be-signed");
        fs::write(&message, text).at("writing", &message)?;
        let mut command = tool("openssl");
        command.args(["smime", "-sign", "-nocerts", "-noattr", "-binary", "-outform", "PEM", "-in"]);
        command.arg(&message).arg("-inkey").arg(&self.key).arg("-signer").arg(&self.certificate);
        let output = command.run(PACKAGE).map_err(|error| {
            error.help("name an RSA key without passphrase and its certificate, both as PEM")
        })?;
        let pem = String::from_utf8_lossy(&output.stdout);
        Ok(pem.lines().filter(|line| !line.starts_with("-----")).collect())
    }

    /// SHA-256 of the certificate in DER, by which systemd finds it.
    ///
    /// # Errors
    /// [`ErrorKind::Tool`] when it is no certificate.
    pub fn fingerprint(&self) -> Result<Digest> {
        let mut command = tool("openssl");
        command.args(["x509", "-outform", "DER", "-in"]).arg(&self.certificate);
        Ok(Digest::of(&command.run(PACKAGE)?.stdout))
    }

    fn check_files(&self) -> Result<()> {
        for (what, path) in [("key", &self.key), ("certificate", &self.certificate)] {
            fs::metadata(path).map_err(|error| {
                Error::new(ErrorKind::Usage, format!("the {what} {}: {error}", path.display()))
                    .help("sign-key and sign-certificate are files of the machine that builds")
            })?;
        }
        Ok(())
    }
}
