//! XML for reports.

use contract::xml::is_bounded;
use roxmltree::{Document, Node, ParsingOptions};

/// Limit on the nodes of a document; usual ones have some hundred.
const MOST_NODES: u32 = 20_000;
/// Limit on the attributes of an element; usual ones have a handful.
const MOST_ATTRIBUTES: usize = 1000;

/// Parses a document; refuses entities, and too many nodes or attributes.
pub(crate) fn parse(text: &str) -> Option<Document<'_>> {
    let options = ParsingOptions { allow_dtd: false, nodes_limit: MOST_NODES, entity_resolver: None };
    is_bounded(text, MOST_ATTRIBUTES).then_some(())?;
    Document::parse_with_options(text.trim_start_matches('\u{feff}'), options).ok()
}

/// The first child of this name, in any namespace: they differ between versions of a service.
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
