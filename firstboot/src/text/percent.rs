//! Percent-encoding (RFC 3986, section 2.1).

use std::fmt::Write;

/// `text` with everything encoded but letters, digits, `-._~`, and the bytes in `also`.
pub(crate) fn encoded(text: &str, also: &[u8]) -> String {
    text.bytes().fold(String::new(), |mut all, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || also.contains(&byte) {
            all.push(char::from(byte));
        } else {
            let _ = write!(all, "%{byte:02X}");
        }
        all
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_stand_in_any_part_of_a_url_stays() {
        assert_eq!(encoded("aZ0-._~", b""), "aZ0-._~");
        assert_eq!(encoded("a b:/\u{e9}+", b""), "a%20b%3A%2F%C3%A9%2B");
        assert_eq!(encoded("a:b/", b":"), "a:b%2F");
    }
}
