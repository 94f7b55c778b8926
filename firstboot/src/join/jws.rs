//! The signature of cluster-info: a detached JSON Web Signature (RFC 7515, appendix F) with the bootstrap
//! token's secret as key.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;

use crate::error::{ErrorKind, Failure, Result};
use crate::kubernetes::token::Token;

/// Checks that the author of `kubeconfig` knew the token's secret. `signature` is the value of
/// `jws-kubeconfig-<id>`: `header..signature`.
///
/// The payload is the exact text in the ConfigMap; the header is the exact bytes that Kubernetes writes.
pub fn verify(kubeconfig: &str, signature: &str, token: &Token) -> Result<()> {
    let header = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"HS256","kid":"{}"}}"#, token.id()));
    let message = format!("{header}.{}", URL_SAFE_NO_PAD.encode(kubeconfig));
    let given = signature.strip_prefix(header.as_str()).and_then(|rest| rest.strip_prefix(".."));
    let given = given.and_then(|text| URL_SAFE_NO_PAD.decode(text).ok()).unwrap_or_default();
    let key = hmac::Key::new(hmac::HMAC_SHA256, token.secret().as_bytes());
    hmac::verify(&key, message.as_bytes(), &given).map_err(|_| {
        Failure::new(ErrorKind::Untrusted, "failed to verify JWS signature of received cluster info object, can't trust this API Server").help(
            format!(
                "the secret of token {} is not the cluster's, or another server answers at this endpoint: make a new token",
                token.id()
            ),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KUBECONFIG: &str = include_str!("../../../tests/vectors/cluster-info.kubeconfig");
    const SIGNATURE: &str = include_str!("../../../tests/vectors/cluster-info.jws");

    fn token(text: &str) -> Token {
        text.parse().unwrap()
    }

    #[test]
    fn accepts_what_a_real_cluster_signed() {
        verify(KUBECONFIG, SIGNATURE, &token("abcdef.0123456789abcdef")).unwrap();
    }

    #[test]
    fn refuses_everything_else() {
        let (header, rest) = SIGNATURE.split_once("..").unwrap();
        for (kubeconfig, signature, secret) in [
            (KUBECONFIG, SIGNATURE.to_owned(), "abcdef.0123456789abcdee"),
            (KUBECONFIG, SIGNATURE.to_owned(), "abcdeg.0123456789abcdef"),
            (&KUBECONFIG[1..], SIGNATURE.to_owned(), "abcdef.0123456789abcdef"),
            (KUBECONFIG, String::new(), "abcdef.0123456789abcdef"),
            (KUBECONFIG, format!("{header}.."), "abcdef.0123456789abcdef"),
            (KUBECONFIG, format!("{header}.x.{rest}"), "abcdef.0123456789abcdef"),
            (KUBECONFIG, format!("{SIGNATURE}\n"), "abcdef.0123456789abcdef"),
            (KUBECONFIG, format!("{header}..{}", &rest[..40]), "abcdef.0123456789abcdef"),
            (
                KUBECONFIG,
                format!("{}..{rest}", URL_SAFE_NO_PAD.encode(r#"{"alg":"none","kid":"abcdef"}"#)),
                "abcdef.0123456789abcdef",
            ),
        ] {
            let failure = verify(kubeconfig, &signature, &token(secret)).unwrap_err();
            assert!(failure.kind == ErrorKind::Untrusted && !failure.transient, "{failure:?}");
            assert!(!format!("{failure:?}").contains(token(secret).secret()));
        }
    }
}
