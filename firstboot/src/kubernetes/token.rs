//! Bootstrap tokens: `id.secret`
//! (<https://kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens/>).

use std::str::FromStr;

use crate::secret::Secret;

/// A bootstrap token. Its id may be shown, its secret may not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    id: String,
    whole: Secret,
}

/// Characters of the id.
const ID: usize = 6;
/// Characters of the secret.
const SECRET: usize = 16;

impl Token {
    /// The public part: six characters.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The secret part: sixteen characters.
    pub fn secret(&self) -> &str {
        &self.whole.reveal()[ID + 1..]
    }

    /// `id.secret`, as a bearer token.
    pub fn bearer(&self) -> &str {
        self.whole.reveal()
    }
}

impl FromStr for Token {
    type Err = &'static str;

    /// Parses `[a-z0-9]{6}.[a-z0-9]{16}`. The error does not repeat the text.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = |part: &str, len| {
            part.len() == len && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        };
        match text.split_once('.') {
            Some((id, secret)) if plain(id, ID) && plain(secret, SECRET) => {
                Ok(Self { id: id.to_owned(), whole: Secret::new(text.to_owned()) })
            }
            _ => Err("the bootstrap token is invalid"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_its_id_and_never_its_secret() {
        let token: Token = "9vr73a.a8uxyaju799qwdjv".parse().unwrap();
        assert_eq!((token.id(), token.secret()), ("9vr73a", "a8uxyaju799qwdjv"));
        assert!(!format!("{token:?}").contains("a8uxyaju799qwdjv"));
    }

    #[test]
    fn refuses_what_is_none() {
        for text in [
            "",
            "not-a-token",
            "9vr73a.A8uxyaju799qwdjv",
            "9vr73a.a8uxyaju799qwdj",
            "9vr73aa8uxyaju799qwdjv",
            "9vr73a.a8uxyaju799qwdjv\n",
        ] {
            assert!(text.parse::<Token>().is_err(), "{text}");
        }
    }
}
