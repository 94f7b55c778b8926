//! Text in HTML and SVG.

use crate::address::said;

/// `text` as content or as the value of a quoted attribute, without hidden characters and secrets of
/// addresses.
pub(crate) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in said(text).chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            _ => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_ends_its_element_or_attribute() {
        assert_eq!(escaped("a<script>\"'&amp;\u{202e}"), "a&lt;script&gt;&quot;&#39;&amp;amp;\\u202e");
    }
}
