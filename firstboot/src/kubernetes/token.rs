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

/// What is wrong with a text that is no token at all.
pub(crate) const NO_DOT: &str = "it has no dot between its id and its secret";

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
    type Err = String;

    /// Parses `[a-z0-9]{6}.[a-z0-9]{16}`. The error says what is wrong and does not repeat the text.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Err(invalid("it is empty or missing"));
        }
        let (id, secret) = text.split_once('.').ok_or_else(|| invalid(NO_DOT))?;
        check("id", id, ID)?;
        check("secret", secret, SECRET)?;
        Ok(Self { id: id.to_owned(), whole: Secret::new(text.to_owned()) })
    }
}

/// Begins with kubeadm's words.
fn invalid(why: impl std::fmt::Display) -> String {
    format!("the bootstrap token is invalid: {why}")
}

fn check(part: &str, text: &str, length: usize) -> Result<(), String> {
    let count = text.chars().count();
    if count != length {
        return Err(invalid(format_args!("its {part} has {count} characters, not {length}")));
    }
    if !text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()) {
        return Err(invalid(format_args!(
            "its {part} has other characters than lower-case letters and digits"
        )));
    }
    Ok(())
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
    fn what_is_wrong_with_a_token_is_said_without_the_token() {
        for (text, said) in [
            ("", "is empty or missing"),
            ("not-a-token", "has no dot"),
            ("9vr73aa8uxyaju799qwdjv", "has no dot"),
            ("9vr73.a8uxyaju799qwdjv", "its id has 5 characters, not 6"),
            ("9vr73a.a8uxyaju799qwdj", "its secret has 15 characters, not 16"),
            ("9vr73a.a8uxyaju799qwdjv\n", "has 17 characters"),
            ("9vr73–.a8uxyaju799qwdjv", "its id has other characters"),
            ("9vr73a.A8uxyaju799qwdjv", "its secret has other characters"),
        ] {
            let reason = text.parse::<Token>().unwrap_err();
            assert!(reason.contains(said) && (text.is_empty() || !reason.contains(text)), "{text}: {reason}");
        }
    }
}
