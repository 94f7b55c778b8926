//! UUIDs of machines in their firmware: which of them identify one.

/// UUIDs that many machines share, because their vendors did not set one.
const SHARED_UUIDS: &[&str] = &[
    "03000200-0400-0500-0006-000700080009",
    "00020003-0004-0005-0006-000700080009",
    "12345678-1234-5678-90ab-cddeefaabbcc",
    "12345678-1234-5678-1234-567812345678",
    "01234567-8910-1112-1314-151617181920",
    "fefefefe-fefe-fefe-fefe-fefefefefefe",
];

/// Why a product_uuid does not identify a machine; none if it may.
pub fn doubt(uuid: &str) -> Option<String> {
    let text = uuid.trim().to_ascii_lowercase();
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b'-').collect();
    if text.is_empty() {
        return Some("it is empty".to_owned());
    }
    if digits.len() != 32 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return Some("it is no UUID".to_owned());
    }
    if digits.iter().all(|digit| *digit == digits[0]) {
        return Some("all its digits are the same".to_owned());
    }
    if SHARED_UUIDS.contains(&text.as_str()) {
        return Some("it is a vendor's placeholder".to_owned());
    }
    None
}
