//! The structures of SMBIOS (DMTF DSP0134).

/// A text of the firmware, trimmed; none when it is empty.
pub(in crate::host) fn shown(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes)
        .trim_matches(|edge: char| edge.is_whitespace() || edge == '\0')
        .to_owned();
    (!text.is_empty()).then_some(text)
}

/// The strings behind the formatted part of a structure: each ends with a NUL, the last with two (DSP0134,
/// section 6.1.3). A truncated structure has the strings that are there.
pub fn strings(structure: &[u8]) -> Vec<Vec<u8>> {
    let formatted = structure.get(1).map_or(4, |length| usize::from(*length).max(4));
    let area = structure.get(formatted..).unwrap_or_default();
    area.split(|byte| *byte == 0)
        .take_while(|string| !string.is_empty())
        .map(<[u8]>::to_vec)
        .collect()
}

/// The whole table, as Windows hands it out.
#[cfg(any(windows, test))]
pub(in crate::host) mod table {
    use super::{shown, strings};

    /// A structure: its type, and its bytes with the strings behind them.
    type Structure<'a> = (u8, &'a [u8]);

    /// The type of structures with the operator's strings.
    const OEM_STRINGS: u8 = 11;
    /// Type 1, the system: where its UUID is (section 7.2).
    const UUID: (u8, usize) = (1, 8);
    /// Texts by their names in Linux: the type of the structure, and where in it the number of the text is.
    const TEXTS: &[(&str, u8, usize)] = &[
        ("bios_vendor", 0, 4),
        ("sys_vendor", 1, 4),
        ("product_name", 1, 5),
        ("product_version", 1, 6),
        ("product_serial", 1, 7),
        ("board_vendor", 2, 4),
        ("board_name", 2, 5),
        ("board_serial", 2, 7),
        ("chassis_asset_tag", 3, 8),
    ];

    /// The structures of a table, up to its end or to one that is cut off.
    pub fn structures(mut table: &[u8]) -> Vec<Structure<'_>> {
        let mut found = Vec::new();
        while let [kind, length, ..] = *table {
            let formatted = usize::from(length);
            let Some(area) = table.get(formatted..).filter(|_| formatted >= 4) else { break };
            let Some(end) = area.windows(2).position(|pair| pair == [0, 0]) else { break };
            let (structure, rest) = table.split_at(formatted + end + 2);
            found.push((kind, structure));
            table = rest;
        }
        found
    }

    /// The text or UUID with this name in Linux.
    pub fn text(table: &[u8], name: &str) -> Option<String> {
        let of = |kind| structures(table).into_iter().find(|(other, _)| *other == kind);
        if name == "product_uuid" {
            return uuid(of(UUID.0)?.1.get(UUID.1..)?.first_chunk()?);
        }
        let (_, kind, at) = TEXTS.iter().find(|(other, ..)| *other == name)?;
        let (_, structure) = of(*kind)?;
        let is_formatted = usize::from(*structure.get(1)?) > *at;
        let number = structure.get(*at).filter(|_| is_formatted)?.checked_sub(1)?;
        shown(strings(structure).get(usize::from(number))?)
    }

    /// The strings of all structures of type 11.
    pub fn oem_strings(table: &[u8]) -> Vec<Vec<u8>> {
        let all = structures(table).into_iter().filter(|(kind, _)| *kind == OEM_STRINGS);
        all.flat_map(|(_, structure)| strings(structure)).collect()
    }

    /// The first three groups are little-endian, as Linux shows them since SMBIOS 2.6; none where it is unset
    /// (section 7.2.1).
    fn uuid(bytes: &[u8; 16]) -> Option<String> {
        if bytes.iter().all(|byte| *byte == 0) || bytes.iter().all(|byte| *byte == 0xff) {
            return None;
        }
        let order = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
        let mut text = String::new();
        for (position, at) in order.into_iter().enumerate() {
            if [4, 6, 8, 10].contains(&position) {
                text.push('-');
            }
            text.push_str(&format!("{:02x}", bytes[at]));
        }
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_follow_the_formatted_part() {
        for (structure, expected) in [
            (&b"\x0b\x05\x00\x00\x02one\0two\0\0"[..], vec!["one", "two"]),
            (b"\x0b\x05\x00\x00\x00\0\0", vec![]),
            (b"\x0b\x05\x00\x00\x01cut", vec!["cut"]),
            (b"\x0b\xff\x00", vec![]),
            (b"\x0b", vec![]),
            (b"", vec![]),
        ] {
            assert_eq!(
                strings(structure),
                expected.iter().map(|text| text.as_bytes().to_vec()).collect::<Vec<_>>()
            );
        }
    }

    fn structure(kind: u8, formatted: &[u8], strings: &[&str]) -> Vec<u8> {
        let mut bytes = vec![kind, u8::try_from(formatted.len() + 4).unwrap(), 0, 0];
        bytes.extend_from_slice(formatted);
        strings.iter().for_each(|text| bytes.extend_from_slice(format!("{text}\0").as_bytes()));
        if strings.is_empty() {
            bytes.push(0);
        }
        bytes.push(0);
        bytes
    }

    #[test]
    fn the_whole_table_has_the_texts_that_linux_shows() {
        let uuid = *b"\x33\x22\x11\x00\x55\x44\x77\x66\x88\x99\xaa\xbb\xcc\xdd\xee\xff";
        let system = [&[1, 2, 0, 3][..], &uuid].concat();
        let table = [
            structure(0, &[1], &["SeaBIOS"]),
            structure(1, &system, &["Amazon EC2", " m5.large ", "ec2-serial"]),
            structure(11, &[2], &["one", "two"]),
            structure(127, &[], &[]),
        ]
        .concat();
        for (name, expected) in [
            ("bios_vendor", Some("SeaBIOS")),
            ("sys_vendor", Some("Amazon EC2")),
            ("product_name", Some("m5.large")),
            ("product_version", None),
            ("product_serial", Some("ec2-serial")),
            ("product_uuid", Some("00112233-4455-6677-8899-aabbccddeeff")),
            ("board_name", None),
            ("chassis_asset_tag", None),
            ("unknown", None),
        ] {
            assert_eq!(table::text(&table, name).as_deref(), expected, "{name}");
        }
        assert_eq!(table::oem_strings(&table), [b"one".to_vec(), b"two".to_vec()]);
    }

    #[test]
    fn a_table_that_is_cut_off_or_damaged_has_the_structures_before() {
        let whole = [structure(0, &[1], &["a"]), structure(11, &[1], &["b"])].concat();
        let first = structure(0, &[1], &["a"]).len();
        for length in 0..whole.len() {
            let found = table::structures(&whole[..length]).len();
            assert_eq!(found, usize::from(length >= first), "{length}");
        }
        for damaged in [&b"\x01\x00\x00\x00\0\0"[..], b"\x01\xff\0\0", b"\x01", b"\x01\x03\0\0\0"] {
            assert!(table::structures(damaged).is_empty() && table::text(damaged, "sys_vendor").is_none());
        }
    }
}
