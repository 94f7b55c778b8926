//! Values that check themselves while they are read, so that a wrong one is reported with its line.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

use super::windows::names;
use crate::size::MIB;

/// The `schema` key: the version of the file's format. Only 1 exists.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "u64")]
pub struct SchemaVersion;

/// A name: lower-case letters, digits, `.`, `-`, `+`; starts with a letter or digit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Name(pub String);

/// A size such as `"512MiB"` or `"2GiB"`, in bytes; a whole number of MiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Size(pub u64);

/// Permission bits as an octal string: `"0644"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Mode(pub u32);

/// An absolute path inside the image, kept without its leading slash or drive, with `/` between its names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct ImagePath(pub String, pub Spelling);

/// How a path is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Spelling {
    /// `/etc/hosts`
    Unix,
    /// `C:\k\kubelet.exe`
    Windows,
}

impl TryFrom<u64> for SchemaVersion {
    type Error = String;

    fn try_from(version: u64) -> Result<Self, String> {
        match version {
            1 => Ok(Self),
            _ => Err(format!(
                "schema {version} is not known to this release of Kiln\nwrite schema = 1, or use a newer Kiln"
            )),
        }
    }
}

impl TryFrom<String> for Name {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let valid = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-+".contains(&byte);
        let starts =
            text.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        if starts && text.len() <= 64 && text.bytes().all(valid) {
            Ok(Self(text))
        } else {
            Err(format!(
                "\"{text}\" is not a name\nuse up to 64 lower-case letters, digits, dots, dashes, and begin with a letter or digit"
            ))
        }
    }
}

impl TryFrom<String> for Size {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || format!("\"{text}\" is not a size\nwrite a number and MiB or GiB, such as \"512MiB\"");
        let split = text.find(|character: char| !character.is_ascii_digit()).ok_or_else(wrong)?;
        let (number, unit) = text.split_at(split);
        let unit = match unit.trim_start() {
            "MiB" => MIB,
            "GiB" => 1024 * MIB,
            _ => return Err(wrong()),
        };
        let number: u64 = number.parse().map_err(|_| wrong())?;
        match number.checked_mul(unit) {
            Some(bytes) if bytes <= 16 * 1024 * 1024 * MIB => Ok(Self(bytes)),
            _ => Err(format!("\"{text}\" is larger than 16 TiB\nwrite a smaller size")),
        }
    }
}

impl TryFrom<String> for Mode {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let digits = text.len() == 4 && text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
        match u32::from_str_radix(&text, 8) {
            Ok(bits) if digits => Ok(Self(bits)),
            _ => Err(format!("\"{text}\" is not a mode\nwrite four octal digits, such as \"0644\"")),
        }
    }
}

impl TryFrom<String> for ImagePath {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (path, spelling, example) = match (text.strip_prefix('/'), names::below_drive(&text)) {
            (Some(path), _) => (path.to_owned(), Spelling::Unix, "/etc/hosts"),
            (None, Some(path)) => (path, Spelling::Windows, r"C:\k\kubelet.exe"),
            (None, None) => {
                return Err(format!(
                    "\"{text}\" is not absolute\npaths in the image begin with /, those of Windows with C:\\"
                ));
            }
        };
        check_components(&path).map_err(|why| {
            format!(
                "\"{text}\" is not a path in the image: {why}\nwrite a plain absolute path such as {example}"
            )
        })?;
        Ok(Self(path, spelling))
    }
}

/// Whether `path` (relative, inside an image) is in its one normal form.
pub fn check_components(path: &str) -> Result<(), &'static str> {
    if path.contains('\0') || path.contains('\n') {
        return Err("it has a control character");
    }
    if path.len() > 4095 {
        return Err("it is longer than 4095 bytes");
    }
    for component in path.split('/') {
        match component {
            "" => return Err("it has an empty component; write no // and no / at the end"),
            "." | ".." => return Err("it has . or .. in it"),
            _ if component.len() > 255 => return Err("it has a component longer than 255 bytes"),
            _ => {}
        }
    }
    Ok(())
}

macro_rules! string_schema {
    ($type:ty, $name:literal, $pattern:literal, $description:literal $(,)?) => {
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": $pattern, "description": $description })
            }
        }
    };
}

string_schema!(Name, "Name", "^[a-z0-9][a-z0-9.+-]{0,63}$", "Lower-case letters, digits, dots, dashes");
string_schema!(Size, "Size", "^[0-9]+ ?(MiB|GiB)$", "A number and MiB or GiB");
string_schema!(Mode, "Mode", "^[0-7]{4}$", "Permission bits, four octal digits");
string_schema!(
    ImagePath,
    "ImagePath",
    r"^(/[^/]|[Cc]:[/\\][^/\\])",
    "An absolute path inside the image; with its drive in a layer for Windows"
);

impl JsonSchema for SchemaVersion {
    fn schema_name() -> Cow<'static, str> {
        "SchemaVersion".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "const": 1, "description": "Version of this file's format" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_whole_mebibytes() {
        assert_eq!(Size::try_from("2GiB".to_owned()).unwrap().0, 2 << 30);
        for wrong in ["512", "512M", "-1MiB", "99999999999999999999MiB", "1.5GiB", "MiB", "99999999GiB"] {
            assert!(Size::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn paths_have_one_form() {
        let path = |text: &str| ImagePath::try_from(text.to_owned()).unwrap();
        assert_eq!(path("/usr/bin/kubelet"), ImagePath("usr/bin/kubelet".to_owned(), Spelling::Unix));
        let kubelet = ImagePath("k/kubelet.exe".to_owned(), Spelling::Windows);
        assert_eq!(path(r"C:\k\kubelet.exe"), kubelet);
        assert_eq!(path("c:/k/kubelet.exe"), kubelet);
        for wrong in
            ["usr/bin", "/", "/usr//bin", "/usr/../etc", "/usr/", "/a\nb", r"D:\k", r"C:\k\..\x", r"C:\"]
        {
            assert!(ImagePath::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn modes_are_four_octal_digits() {
        assert_eq!(Mode::try_from("4755".to_owned()).unwrap().0, 0o4755);
        for wrong in ["755", "0888", "00644", "rwxr"] {
            assert!(Mode::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
    }
}
