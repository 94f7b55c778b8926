//! What a parser of XML needs limits for, because it compares each with each.

/// The most declarations of namespaces in a document.
const MOST_NAMESPACES: usize = 1000;

/// Whether no element has more than `most` attributes, and the document few namespaces: then a parser that
/// compares each with each takes linear time. Outside of comments and sections of text, `<` begins a tag and
/// is nowhere else (XML 1.0, 2.4), so what follows it up to the next holds all attributes of one element; an
/// equals sign in its text counts as well.
pub fn is_bounded(text: &str, most: usize) -> bool {
    let attributes = |piece: &str| piece.bytes().filter(|byte| *byte == b'=').count();
    text.matches("xmlns").count() <= MOST_NAMESPACES && text.split('<').all(|piece| attributes(piece) <= most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_attributes_of_one_element_are_too_many_and_many_elements_are_not() {
        let attributes: String = (0..20).map(|number| format!(" a{number}=\"\"")).collect();
        assert!(!is_bounded(&format!("<x{attributes}/>"), 19));
        assert!(is_bounded(&format!("<x{attributes}/>"), 20));
        assert!(is_bounded(&format!("<x>{}</x>", "<y a=''/>".repeat(5000)), 1));
        let nested = |count| (0..count).map(|number| format!("<x xmlns:n{number}='u'>")).collect::<String>();
        assert!(is_bounded(&nested(MOST_NAMESPACES), 1) && !is_bounded(&nested(MOST_NAMESPACES + 1), 1));
    }
}
