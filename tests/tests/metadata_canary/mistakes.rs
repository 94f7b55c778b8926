//! Mistakes beside the secrets.

use kiln_tests::canary::{ID, SECRET};

use super::formats::{Made, token};

/// Writes something in the token's place.
pub type Token = fn() -> String;
/// Does something to bytes.
pub type Damage = fn(&[u8]) -> Vec<u8>;

/// The text in place of the token.
pub const MISTAKES: &[(&str, Token)] = &[
    ("another form", || format!("\"{ID}.{}\"", SECRET.to_uppercase())),
    ("too long", || format!("\"{ID}.{SECRET}x\"")),
    ("no dot", || format!("\"{ID}{SECRET}\"")),
    ("a list", || format!("[\"{ID}.{SECRET}\"]")),
    ("a map", || format!("{{\"value\": \"{ID}.{SECRET}\"}}")),
    ("an open quote", || format!("\"{ID}.{SECRET}")),
    ("a stray bracket", || format!("{ID}.{SECRET}]: [")),
    ("twice", || format!("{}\n    token: {}x", token(), token())),
    ("an unknown field", || format!("{}\n    tokem: {}\n    unsafe: [", token(), token())),
    ("a tab", || format!("{}\n\t{}: x", token(), token())),
    ("a tag", || format!("!{ID}.{SECRET} {}", token())),
    ("an anchor that is not there", || format!("*{SECRET}")),
    ("a template", || format!("\"{{{{ {ID}.{SECRET} }}}}\"")),
    ("a variable", || format!("\"$x${}\"", SECRET.to_uppercase())),
];

/// The change to the bytes.
pub const DAMAGES: &[(&str, Damage)] = &[
    ("cut short", |bytes| bytes[..bytes.len() / 2].to_vec()),
    ("cut at the end", |bytes| bytes[..bytes.len() - 5].to_vec()),
    ("a wrong byte", |bytes| {
        let mut bytes = bytes.to_vec();
        let middle = bytes.len() * 2 / 3;
        bytes[middle] ^= 0x15;
        bytes
    }),
    ("more behind it", |bytes| [bytes, format!("{ID}.{SECRET}").as_bytes()].concat()),
    ("a NUL in it", |bytes| {
        let (front, back) = bytes.split_at(bytes.len() / 2);
        [front, b"\0", back].concat()
    }),
];

/// The same with everything damaged that comes to the machine, in one place at a time.
pub fn damaged(made: &Made, damage: Damage) -> Made {
    let mut made = made.clone();
    let fetched = made.pointed.values_mut().chain(made.asked.values_mut()).next();
    let bytes = fetched.unwrap_or(&mut made.user_data);
    *bytes = damage(bytes);
    made
}

/// Policies of an image that leave little of any source, and how a run ends there whose token is nothing
/// special.
pub const POLICIES: &[(&str, &str, i32)] = &[
    ("no config", "{\"config\": []}", 0),
    ("no secrets", "{\"secrets\": []}", 12),
    ("no facts", "{\"facts\": []}", 11),
    ("nothing", "{\"facts\": [], \"config\": [], \"secrets\": []}", 0),
];
