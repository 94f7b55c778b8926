//! Which names Windows gives to files, and which names are one to it.
//!
//! Rules: "Naming Files, Paths, and Namespaces" (<https://learn.microsoft.com/windows/win32/fileio/naming-a-file>).

use std::collections::BTreeMap;

/// The system drive, with which a layer writes its paths.
pub const DRIVE: &str = "C:\\";
/// The characters of a path that programs without long paths can open, without the drive and the NUL at the
/// end (`MAX_PATH`, 260).
const LONGEST_PATH: usize = 260 - DRIVE.len() - 1;
const LONGEST_NAME: usize = 255;
/// Names of devices, whatever ending follows them.
const DEVICES: [&str; 6] = ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"];
/// Names of devices that a digit follows.
const NUMBERED_DEVICES: [&str; 2] = ["COM", "LPT"];
/// Files in the root of every volume ("Master File Table", Microsoft).
const OF_NTFS: [&str; 11] = [
    "$MFT", "$MFTMIRR", "$LOGFILE", "$VOLUME", "$ATTRDEF", "$BITMAP", "$BOOT", "$BADCLUS", "$SECURE",
    "$UPCASE", "$EXTEND",
];
const FORBIDDEN: [char; 7] = ['<', '>', ':', '"', '|', '?', '*'];

/// A message, and the help for it.
pub type Refusal = (String, String);

/// `name` in the form in which Windows compares names: each character in upper case, as far as that is one
/// character (NTFS's `$UpCase`).
pub fn folded(name: &str) -> String {
    let upper = |character: char| {
        let mut upper = character.to_uppercase();
        match (upper.next(), upper.next()) {
            (Some(one), None) => one,
            _ => character,
        }
    };
    name.chars().map(upper).collect()
}

/// A path as a layer writes it, `C:\Program Files\x`, in the form in which plans have it: `Program Files/x`.
/// `None` if it does not begin with the system drive.
pub fn below_drive(written: &str) -> Option<String> {
    let (drive, rest) = written.split_at_checked(DRIVE.len())?;
    let is_drive = drive.replace('/', "\\").eq_ignore_ascii_case(DRIVE);
    is_drive.then(|| rest.replace('\\', "/"))
}

/// A path of a plan as Windows writes it.
pub fn shown(path: &str) -> String {
    format!("{DRIVE}{}", path.replace('/', "\\"))
}

/// Whether a file of an image can have this path, which is relative and has `/` between its names.
///
/// # Errors
/// The message and the help.
pub fn check_path(path: &str) -> Result<(), Refusal> {
    if path.encode_utf16().count() > LONGEST_PATH {
        return Err((
            format!("{} has more than 260 characters", shown(path)),
            "many programs of Windows cannot open it: use shorter names".to_owned(),
        ));
    }
    let first = path.split('/').next().unwrap_or_default();
    if OF_NTFS.contains(&folded(first).as_str()) {
        return Err((
            format!("{} is where NTFS keeps the volume itself", shown(path)),
            "choose another name".to_owned(),
        ));
    }
    path.split('/').try_for_each(|name| {
        check_name(name).map_err(|(why, help)| (format!("{}: \"{name}\" {why}", shown(path)), help))
    })
}

/// Whether a file or folder can have this name. The error is why not, and the help.
fn check_name(name: &str) -> Result<(), Refusal> {
    let refused = |why: &str, help: &str| Err((why.to_owned(), help.to_owned()));
    if let Some(wrong) = name.chars().find(|one| FORBIDDEN.contains(one) || *one == '\\') {
        let why = format!("has a \"{wrong}\", which no name on Windows can have");
        return Err((why, "rename it, or leave it out with pick".to_owned()));
    }
    if name.chars().any(|one| (one as u32) < 0x20) {
        return refused("has a control character", "rename it, or leave it out with pick");
    }
    if name.ends_with(['.', ' ']) {
        return refused("ends with a dot or a space, which Windows drops", "rename it without that");
    }
    if name.encode_utf16().count() > LONGEST_NAME {
        return refused("is longer than 255 characters", "use a shorter name");
    }
    if is_short(name) {
        return refused(
            "has the form of a short name, and Windows may have given it to a file with a longer one",
            "write the long name, such as Program Files for PROGRA~1",
        );
    }
    if is_device(name) {
        return refused("is the name of a device on Windows, with any ending", "rename it");
    }
    Ok(())
}

/// Whether NTFS could make this name for programs of MS-DOS: `PROGRA~1`, `INDEX~12.HTM`.
fn is_short(name: &str) -> bool {
    let (stem, ending) = name.rsplit_once('.').unwrap_or((name, ""));
    let is_numbered = stem.rsplit_once('~').is_some_and(|(start, number)| {
        !start.is_empty() && !number.is_empty() && number.bytes().all(|one| one.is_ascii_digit())
    });
    is_numbered && stem.chars().count() <= 8 && ending.chars().count() <= 3 && !stem.contains(['.', ' '])
}

fn is_device(name: &str) -> bool {
    let stem = name.split(['.', ':']).next().unwrap_or_default().trim_end();
    let stem = folded(stem);
    let numbered = |device: &&str| {
        let mut rest = stem.strip_prefix(*device).into_iter().flat_map(str::chars);
        let digit = |one: char| one.is_ascii_digit() || ['¹', '²', '³'].contains(&one);
        rest.next().is_some_and(digit) && rest.next().is_none()
    };
    DEVICES.contains(&stem.as_str()) || NUMBERED_DEVICES.iter().any(numbered)
}

/// Whether Windows can have all of these files and folders beside each other: every path as [`check_path`]
/// wants it, and no two that differ in case alone.
///
/// # Errors
/// The message and the help.
pub fn check_all<'a>(paths: impl IntoIterator<Item = &'a str>) -> Result<(), Refusal> {
    let mut spelled: BTreeMap<String, &str> = BTreeMap::new();
    for path in paths {
        check_path(path)?;
        let ends = path.match_indices('/').map(|(end, _)| end).chain([path.len()]);
        for one in ends.map(|end| &path[..end]) {
            let first = *spelled.entry(folded(one)).or_insert(one);
            if first != one {
                let (first, one) = (shown(first), shown(one));
                return Err((
                    format!("{first} and {one} differ in case alone, and are one name to Windows"),
                    "write both in the same way".to_owned(),
                ));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_windows_cannot_have_are_refused_by_name() {
        for (path, why) in [
            ("k/CON", "name of a device"),
            ("k/nul.txt", "name of a device"),
            ("k/Aux", "name of a device"),
            ("k/com1", "name of a device"),
            ("k/LPT9.tar.gz", "name of a device"),
            ("k/COM²", "name of a device"),
            ("$Mft", "the volume itself"),
            ("$Extend/x", "the volume itself"),
            ("k/prn .log", "name of a device"),
            ("k/CONOUT$", "name of a device"),
            ("nul/x", "name of a device"),
            ("k/x.", "ends with a dot or a space"),
            ("k /x", "ends with a dot or a space"),
            ("k/a:b", "has a \":\""),
            ("k/a?b", "has a \"?\""),
            ("k/a*b", "has a \"*\""),
            ("k/<a>", "has a \"<\""),
            ("k/a|b", "has a \"|\""),
            ("k/\"a\"", "has a \"\"\""),
            ("k/a\\b", "has a \"\\\""),
            ("k/a\u{7}b", "a control character"),
            ("PROGRA~1/x", "the form of a short name"),
            ("k/index~12.htm", "the form of a short name"),
        ] {
            let (message, _) = check_path(path).unwrap_err();
            assert!(message.contains(why) && message.contains("C:\\"), "{path}: {message}");
        }
        for path in [
            "k/console",
            "k/com",
            "k/com10",
            "k/nulls.txt",
            "k/.hidden",
            "k/a b",
            "k/ä",
            "k/lpt",
            "k/~1",
            "k/a~",
            "k/a~b",
            "k/x.txt~1~",
            "k/a.conf~1",
            "k/longer-name~1",
        ] {
            assert_eq!(check_path(path), Ok(()), "{path}");
        }
    }

    #[test]
    fn a_path_has_260_characters_with_its_drive_and_the_end() {
        let of_length = |length: usize| format!("k/{}/{}", "a".repeat(200), "b".repeat(length - 203));
        assert_eq!(check_path(&of_length(256)), Ok(()));
        assert!(check_path(&of_length(257)).unwrap_err().0.contains("more than 260 characters"));
        // Characters are counted as Windows does, in UTF-16.
        assert_eq!(check_path(&"ä".repeat(255)), Ok(()));
        assert!(check_path(&"😀".repeat(129)).is_err());
    }

    #[test]
    fn two_names_that_differ_in_case_alone_are_refused_folders_too() {
        assert_eq!(check_all(["k/a", "k/b", "K2/a"]), Ok(()));
        for paths in [["k/kubelet.exe", "k/Kubelet.exe"], ["k/a", "K/b"], ["ÄRGER/a", "ärger/b"]] {
            let (message, _) = check_all(paths).unwrap_err();
            assert!(message.contains("differ in case alone"), "{paths:?}: {message}");
        }
        assert_eq!(check_all(["straße", "STRASSE"]), Ok(()), "NTFS compares character by character");
    }

    #[test]
    fn a_written_path_begins_with_the_system_drive() {
        for written in [r"C:\Program Files\x", "c:/Program Files/x", r"c:\Program Files/x"] {
            assert_eq!(below_drive(written).as_deref(), Some("Program Files/x"), "{written}");
        }
        for written in ["/etc/hosts", r"D:\x", r"\\server\x", "C:", "", "Ü:\\x"] {
            assert_eq!(below_drive(written), None, "{written}");
        }
        assert_eq!(shown("k/x"), r"C:\k\x");
    }
}
