//! The environment that vSphere gives a machine made from an OVF package: XML, in a guestinfo key or on a
//! disc (DSP0243, section 11; DSP8027 for the schema).
//!
//! ```xml
//! <Environment xmlns="http://schemas.dmtf.org/ovf/environment/1" xmlns:oe="http://schemas.dmtf.org/ovf/environment/1">
//!   <PropertySection><Property oe:key="user-data" oe:value="BASE64"/></PropertySection>
//! </Environment>
//! ```

use contract::xml::is_bounded;
use roxmltree::{Document as Xml, Node, ParsingOptions};
use zeroize::Zeroizing;

use crate::document::Document;
use crate::error::{ErrorKind, Failure, Result};
use crate::facts::Facts;

/// An environment without properties: it overwrites one that holds secrets.
pub const EMPTY: &str = "<Environment xmlns=\"http://schemas.dmtf.org/ovf/environment/1\"/>";

/// Limit on the nodes of a document.
const MOST: u32 = 10_000;
/// Limit on the attributes of an element, and on equals signs in a property.
const MOST_ATTRIBUTES: usize = 4000;
const NAMESPACE: &str = "http://schemas.dmtf.org/ovf/environment/1";

/// The properties that the agent uses.
#[derive(Debug, Default)]
pub struct Environment {
    /// `user-data`, decoded if it is base64.
    pub user_data: Option<Document>,
    /// `hostname`
    pub hostname: Option<String>,
    /// `instance-id`
    pub instance_id: Option<String>,
}

impl Environment {
    /// Adds the facts in it.
    pub(crate) fn add(&self, source: &str, facts: &mut Facts) {
        facts.instance_id.add_some(self.instance_id.clone(), source);
        facts.hostname.add_some(self.hostname.clone(), source);
    }
}

/// Reads an environment. Document types, and with them entities, are refused.
pub fn parse(bytes: &[u8], source: &str) -> Result<Environment> {
    // An error may repeat what is there, which may be secret.
    let wrong = |why: &str| Failure::new(ErrorKind::Source, format!("{source}: {why}"));
    let text = std::str::from_utf8(bytes).map_err(|_| wrong("not UTF-8"))?;
    if !is_bounded(text, MOST_ATTRIBUTES) {
        return Err(wrong("no OVF environment: an element with too many attributes"));
    }
    let options = ParsingOptions { nodes_limit: MOST, ..ParsingOptions::default() };
    let xml = Xml::parse_with_options(text.trim_matches(['\0', '\u{feff}']), options)
        .map_err(|error| wrong(&format!("no OVF environment: unreadable XML in line {}", error.pos().row)))?;
    if xml.root_element().tag_name().name() != "Environment" {
        return Err(wrong("no OVF environment: another document"));
    }
    let value = |key: &str| property(&xml, key).filter(|value| !value.is_empty());
    let user_data = value("user-data").map(|text| {
        let plain = || Document::new(Zeroizing::new(text.as_bytes().to_vec()));
        Document::from_base64(text.as_bytes())
            .or_else(plain)
            .ok_or_else(|| wrong("the user-data is too long"))
    });
    Ok(Environment {
        user_data: user_data.transpose()?,
        hostname: value("hostname").map(str::to_owned),
        instance_id: value("instance-id").map(str::to_owned),
    })
}

/// The value of a property of the machine itself; those of other machines of the package stand in sections of
/// their own.
fn property<'a>(xml: &'a Xml<'_>, key: &str) -> Option<&'a str> {
    let children = |node: Node<'a, '_>, name: &'static str| {
        node.children().filter(move |child| child.tag_name().name() == name)
    };
    let attribute =
        |node: Node<'a, '_>, name: &str| node.attribute((NAMESPACE, name)).or_else(|| node.attribute(name));
    let properties =
        children(xml.root_element(), "PropertySection").flat_map(|section| children(section, "Property"));
    properties
        .filter(|node| attribute(*node, "key") == Some(key))
        .find_map(|node| attribute(node, "value"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(properties: &str) -> String {
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Environment xmlns=\"{NAMESPACE}\" xmlns:oe=\"{NAMESPACE}\" oe:id=\"\">\
             <PlatformSection><Kind>VMware ESXi</Kind></PlatformSection><PropertySection>{properties}</PropertySection>\
             <Entity oe:id=\"other\"><PropertySection><Property oe:key=\"hostname\" oe:value=\"other\"/></PropertySection></Entity></Environment>"
        )
    }

    #[test]
    fn properties_are_read() {
        for (properties, user_data, hostname) in [
            (
                "<Property oe:key=\"user-data\" oe:value=\"I2Nsb3VkLWNvbmZpZwo=\"/>",
                Some("#cloud-config\n"),
                None,
            ),
            (
                "<Property oe:key=\"user-data\" oe:value=\"a: b&#10;\"/><Property oe:key=\"hostname\" oe:value=\"n1\"/>",
                Some("a: b\n"),
                Some("n1"),
            ),
            ("<Property oe:key=\"user-data\" oe:value=\"\"/>", None, None),
            ("", None, None),
        ] {
            let found = parse(environment(properties).as_bytes(), "here").unwrap();
            assert_eq!(
                found.user_data.as_ref().map(Document::bytes),
                user_data.map(str::as_bytes),
                "{properties}"
            );
            assert_eq!(found.hostname.as_deref(), hostname);
        }
        assert!(parse(EMPTY.as_bytes(), "here").unwrap().user_data.is_none());
    }

    #[test]
    fn what_is_no_environment_is_refused_without_repeating_it() {
        for text in [
            &b"<canary"[..],
            b"",
            b"\xff",
            b"<canary/>",
            b"<!DOCTYPE x [<!ENTITY canary \"y\">]><Environment>&canary;</Environment>",
        ] {
            let failure = parse(text, "here").unwrap_err();
            assert!(
                failure.message.starts_with("here: ") && !failure.message.contains("canary"),
                "{failure}"
            );
        }
        let many = format!("<Environment>{}</Environment>", "<a/>".repeat(MOST as usize));
        assert!(parse(many.as_bytes(), "here").is_err());
    }
}
