//! The little XML that reports need.

use roxmltree::{Document, Node, ParsingOptions};

/// Nodes of a document; honest ones have some hundred.
const MOST_NODES: u32 = 20_000;

/// Reads a document; no entities of its own, no more nodes than anything honest has.
pub(crate) fn parse(text: &str) -> Option<Document<'_>> {
    let options = ParsingOptions { allow_dtd: false, nodes_limit: MOST_NODES, entity_resolver: None };
    Document::parse_with_options(text.trim_start_matches('\u{feff}'), options).ok()
}

/// The first child of this name, in whatever namespace: every version of a service has one of its own.
pub(crate) fn child<'a, 'input>(node: Node<'a, 'input>, name: &str) -> Option<Node<'a, 'input>> {
    node.children().find(|child| child.is_element() && child.tag_name().name() == name)
}

/// Text for XML; characters that XML 1.0 does not have become blanks.
pub(crate) fn escaped(text: &str) -> String {
    text.chars().fold(String::new(), |mut all, character| {
        match character {
            '&' => all.push_str("&amp;"),
            '<' => all.push_str("&lt;"),
            '>' => all.push_str("&gt;"),
            '"' => all.push_str("&quot;"),
            '\'' => all.push_str("&apos;"),
            '\u{fffe}' | '\u{ffff}' => all.push(' '),
            other if other.is_control() => all.push(' '),
            other => all.push(other),
        }
        all
    })
}
