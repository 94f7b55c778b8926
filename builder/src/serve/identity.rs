//! Who asks: what iPXE says of its machine. All of it is a stranger's word, so each part has a form, and what
//! has another is left out or refused.

use contract::product_uuid::doubt;
use contract::text::visible;

use crate::definition::plan::Arch;

/// The longest query that is read, in bytes.
const LONGEST_QUERY: usize = 1024;

/// The longest serial number that is kept, in characters.
const LONGEST_SERIAL: usize = 64;

/// A machine as it describes itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// `52:54:00:12:34:56`: of the interface that booted.
    pub mac: Option<String>,
    /// The system's UUID in its firmware, lower case.
    pub uuid: Option<String>,
    /// The system's serial number in its firmware, without hidden characters.
    pub serial: Option<String>,
    /// Its processor.
    pub arch: Option<Arch>,
}

impl Identity {
    /// The identity in a query such as `mac=52-54-00-12-34-56&uuid=…&serial=…&arch=x86_64`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(query: &str) -> Result<Self, &'static str> {
        if query.len() > LONGEST_QUERY {
            return Err("the query is too long");
        }
        let mut identity = Self::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = match decoded(value) {
                Some(value) => value,
                // Firmware has any bytes there. The machine has better names.
                None if name == "serial" => continue,
                None => return Err("the query is not percent-encoded UTF-8"),
            };
            // A machine without one sends the empty text.
            if value.is_empty() {
                continue;
            }
            match name {
                "mac" => identity.mac = Some(mac(&value).ok_or("mac is no hardware address")?),
                "uuid" => identity.uuid = Some(uuid(&value).ok_or("uuid is no UUID")?),
                "serial" => identity.serial = serial(&value),
                "arch" => identity.arch = arch(&value),
                _ => {}
            }
        }
        Ok(identity)
    }

    /// The name under which the machine is remembered: the address of the interface that booted, else the
    /// UUID, else the serial number.
    pub fn key(&self) -> Option<&str> {
        self.mac.as_deref().or(self.uuid.as_deref()).or(self.serial.as_deref())
    }

    /// The UUID, if it tells machines apart.
    pub fn own_uuid(&self) -> Option<&str> {
        self.uuid.as_deref().filter(|uuid| doubt(uuid).is_none())
    }

    /// The names of files without extension that may hold its node config, the first one first.
    pub fn file_names(&self) -> Vec<String> {
        let macs = self.mac.iter().flat_map(|mac| [mac.clone(), mac.replace(':', "-")]);
        let both = macs
            .chain(self.uuid.clone())
            .flat_map(|name| [name.to_ascii_uppercase(), name].into_iter().rev());
        // A serial number is anything that firmware says: none may stand for another machine's better name.
        let is_own = |serial: &&String| is_plain(serial) && mac(serial).is_none() && uuid(serial).is_none();
        let serial = self.serial.iter().filter(is_own);
        let mut names: Vec<String> = both.chain(serial.cloned()).collect();
        names.dedup();
        names
    }
}

/// Whether a text can be part of a path, of YAML and of a URL as it is.
pub(super) fn is_plain(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !text.is_empty() && !text.starts_with('.') && text.bytes().all(is_plain)
}

/// A hardware address of Ethernet (6 bytes), of EUI-64 (8) or of InfiniBand (20), with colons or hyphens.
pub(super) fn mac(text: &str) -> Option<String> {
    let text = text.to_ascii_lowercase().replace('-', ":");
    let is_byte = |part: &str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut parts = text.split(':');
    let count = parts.clone().count();
    ([6, 8, 20].contains(&count) && parts.all(is_byte)).then_some(text)
}

/// A UUID in the text form of RFC 9562.
pub(super) fn uuid(text: &str) -> Option<String> {
    let text = text.to_ascii_lowercase();
    let lengths = text.split('-').map(str::len);
    let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    (is_hex && lengths.eq([8, 4, 4, 4, 12])).then_some(text)
}

fn serial(text: &str) -> Option<String> {
    let shown = visible(text.trim(), &[]);
    let serial: String = shown.chars().take(LONGEST_SERIAL).collect();
    (!serial.is_empty()).then_some(serial)
}

/// iPXE's `${buildarch}`: the one for BIOS is built for i386 and starts kernels for x86-64.
fn arch(text: &str) -> Option<Arch> {
    match text {
        "i386" | "x86_64" => Some(Arch::Amd64),
        "arm64" => Some(Arch::Arm64),
        _ => None,
    }
}

/// `text` without percent-encoding (RFC 3986, 2.1).
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, more @ ..] = rest {
        rest = more;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, more) = more.split_at_checked(2)?;
        let mut byte = [0];
        hex::decode_to_slice(digits, &mut byte).ok()?;
        bytes.push(byte[0]);
        rest = more;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ipxe_says_is_understood() {
        let query = "mac=52-54-00-AB-34-56&uuid=4C4C4544-0042-3510-8052-B4C04F4E4D31&serial=AB%20c&arch=i386";
        let identity = Identity::parse(query).unwrap();
        assert_eq!(identity.mac.as_deref(), Some("52:54:00:ab:34:56"));
        assert_eq!(identity.uuid.as_deref(), Some("4c4c4544-0042-3510-8052-b4c04f4e4d31"));
        assert_eq!((identity.serial.as_deref(), identity.arch), (Some("AB c"), Some(Arch::Amd64)));
        assert_eq!(
            identity.file_names(),
            [
                "52:54:00:ab:34:56",
                "52:54:00:AB:34:56",
                "52-54-00-ab-34-56",
                "52-54-00-AB-34-56",
                "4c4c4544-0042-3510-8052-b4c04f4e4d31",
                "4C4C4544-0042-3510-8052-B4C04F4E4D31"
            ]
        );
        assert_eq!(identity.own_uuid(), identity.uuid.as_deref());
        for uuid in ["00000000-0000-0000-0000-000000000000", "03000200-0400-0500-0006-000700080009"] {
            assert_eq!(Identity::parse(&format!("uuid={uuid}")).unwrap().own_uuid(), None, "{uuid}");
        }
        let serial = Identity::parse("mac=&uuid=&serial=C7X.1&arch=riscv64&color=red").unwrap();
        assert_eq!((serial.key(), serial.file_names()), (Some("C7X.1"), vec!["C7X.1".to_owned()]));
        assert_eq!(Identity::parse("").unwrap().key(), None);
    }

    #[test]
    fn hostile_identities_are_refused_or_lead_nowhere() {
        for (query, expected) in [
            ("mac=../../etc/passwd", "no hardware address"),
            ("mac=52:54:00:12:34:5", "no hardware address"),
            ("mac=52:54:00:12:34:56%0d%0aX:", "no hardware address"),
            ("mac=52:54:00:12:34:56:78", "no hardware address"),
            ("uuid=${net0/mac}", "no UUID"),
            ("uuid=4c4c4544004235108052b4c04f4e4d31", "no UUID"),
            ("mac=%zz", "percent-encoded"),
            ("mac=%f", "percent-encoded"),
            ("uuid=%ff%fe", "percent-encoded"),
            (&"x".repeat(2000), "too long"),
        ] {
            let error = Identity::parse(query).unwrap_err();
            assert!(error.contains(expected), "{query}: {error}");
        }
        for serial in ["..%2f..%2fetc%2fpasswd", ".hidden", "a%0ab", "$%7bnet0/mac%7d", "a%20%26%26%20reboot"]
        {
            let identity = Identity::parse(&format!("serial={serial}")).unwrap();
            assert!(identity.file_names().is_empty(), "{serial}");
            assert!(!identity.serial.unwrap().contains(['\n', '\r']), "{serial}");
        }
        // Another machine's better name.
        for serial in ["52-54-00-12-34-56", "4C4C4544-0042-3510-8052-b4c04f4e4d31"] {
            let identity = Identity::parse(&format!("mac=02-00-00-00-00-66&serial={serial}")).unwrap();
            assert!(!identity.file_names().iter().any(|name| name.eq_ignore_ascii_case(serial)), "{serial}");
        }
        for serial in ["%zz", "%f", "%ff%fe", "%20"] {
            let identity = Identity::parse(&format!("mac=52:54:00:12:34:56&serial={serial}")).unwrap();
            assert_eq!((identity.key(), &identity.serial), (Some("52:54:00:12:34:56"), &None), "{serial}");
        }
        let long = Identity::parse(&format!("serial={}", "9".repeat(500))).unwrap();
        assert_eq!(long.serial.map(|serial| serial.len()), Some(LONGEST_SERIAL));
    }
}
