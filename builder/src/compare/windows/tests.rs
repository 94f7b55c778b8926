use super::super::{Side as Image, compare, page};
use super::secret::has_secret;
use super::*;
use crate::digest::Digest;
use crate::format::hive::{Hive, Value};
use crate::format::wim_list::Kind;
use crate::lock::diff::What;

const AUTO_UPDATE: &str = r"Policies\Microsoft\Windows\WindowsUpdate\AU";

fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}

/// The parts of an image, which a case changes.
struct Parts {
    system: Hive,
    software: Hive,
    files: Vec<Entry>,
}

impl Parts {
    fn system(&mut self, key: &str, name: &str, value: &Value) {
        self.system.set(&format!("ControlSet001\\{key}"), name, value).unwrap();
    }

    fn file(&mut self, path: &str) -> &mut Entry {
        self.files.iter_mut().find(|file| file.path == path).unwrap()
    }
}

fn file(path: &str, content: &str) -> Entry {
    let sha1 = Some(format!("{:.40}", Digest::of(content.as_bytes()).hex()));
    let rights = Some(Digest::of(b"everyone"));
    let (path, size) = (path.to_owned(), content.len() as u64);
    Entry { path, kind: Kind::File, size, sha1, rights, attributes: 0, tag: 0, link_group: 0 }
}

fn parts() -> Parts {
    let folder = |path| Entry { kind: Kind::Folder, size: 0, sha1: None, ..file(path, "") };
    let files = vec![
        folder("Windows"),
        folder(r"Windows\System32"),
        file(r"Windows\System32\ntoskrnl.exe", "MZ kernel"),
        folder("k"),
        file(r"k\kubelet.exe", "MZ kubelet"),
    ];
    let mut parts = Parts { system: Hive::new("ROOT", 0), software: Hive::new("ROOT", 0), files };
    parts.system.set("Select", "Default", &Value::Dword(1)).unwrap();
    parts.system(r"Services\kubelet", "Start", &Value::Dword(2));
    parts.system(r"Services\kubelet", "ImagePath", &text(r"C:\k\kubelet.exe --v=2"));
    parts.system(r"Services\kubelet", "ObjectName", &text("LocalSystem"));
    parts.system(crate::definition::windows::ENVIRONMENT, "Path", &text(r"C:\Windows"));
    let rule = "v2.10|Action=Allow|Active=TRUE|Dir=In|LPort=10250|Name=kubelet|";
    parts.system(crate::definition::windows::firewall::RULES, "kubelet", &text(rule));
    for (name, value) in [
        ("ProductName", text("Windows Server 2022")),
        ("EditionID", text("ServerStandardCore")),
        ("CurrentBuildNumber", text("20348")),
        ("UBR", Value::Dword(2700)),
    ] {
        parts.software.set(r"Microsoft\Windows NT\CurrentVersion", name, &value).unwrap();
    }
    let secrets = r"Microsoft\Windows NT\CurrentVersion\Winlogon";
    parts.software.set(secrets, "DefaultPassword", &text("hunter2")).unwrap();
    parts.software.set(AUTO_UPDATE, "NoAutoUpdate", &Value::Dword(0)).unwrap();
    parts
}

fn image(change: impl FnOnce(&mut Parts)) -> Image {
    let mut parts = parts();
    change(&mut parts);
    let side = Side { image: Windows::of_hives(parts.system, parts.software), files: parts.files };
    let settings = side.settings();
    let mut image = Image { title: "it".to_owned(), is_finished: true, is_windows: true, ..Image::default() };
    image.pins.settings = settings;
    image.windows = Some(side);
    image
}

/// A line of the text, and the change that it tells.
type Case = (&'static str, fn(&mut Parts));

#[test]
fn each_difference_of_windows_is_told_in_its_list_and_the_same_image_has_none() {
    let same = compare(image(|_| {}), image(|_| {})).unwrap();
    assert_eq!(same.to_string(), "no difference");
    let cases: &[Case] = &[
        ("  changed  build  20348.2700 -> 20348.2800", |image| {
            let key = r"Microsoft\Windows NT\CurrentVersion";
            image.software.set(key, "UBR", &Value::Dword(2800)).unwrap();
        }),
        (
            "  changed  kubelet  automatic, LocalSystem, C:\\k\\kubelet.exe --v=2 -> on demand, LocalSystem, C:\\k\\kubelet.exe --v=2",
            |image| {
                image.system(r"services\KUBELET", "start", &Value::Dword(3));
            },
        ),
        ("  added    quoted  \"C:\\Program Files\\x.exe\" --v", |image| {
            image.system(r"Services\quoted", "ImagePath", &text(r#""C:\Program Files\x.exe" --v"#));
        }),
        ("  added    x  disabled", |image| image.system(r"Services\x", "Start", &Value::Dword(4))),
        ("  removed  kubelet  Action=Allow Active=TRUE Dir=In LPort=10250 Name=kubelet", |image| {
            let key = format!("ControlSet001\\{}", crate::definition::windows::firewall::RULES);
            image.system.remove_value(&key, "kubelet").unwrap();
        }),
        ("  changed  Path  C:\\Windows -> C:\\Windows;C:\\k", |image| {
            image.system(crate::definition::windows::ENVIRONMENT, "PATH", &text(r"C:\Windows;C:\k"));
        }),
        ("  added    API_TOKEN  a secret", |image| {
            image.system(crate::definition::windows::ENVIRONMENT, "API_TOKEN", &text("hunter2"));
        }),
        (
            "  changed  HKLM\\SOFTWARE\\Policies\\Microsoft\\Windows\\WindowsUpdate\\AU  NoAutoUpdate: 0 -> 1",
            |image| {
                image.software.set(AUTO_UPDATE, "NOAUTOUPDATE", &Value::Dword(1)).unwrap();
            },
        ),
        (
            "  changed  HKLM\\SOFTWARE\\Policies\\Microsoft\\Windows\\WindowsUpdate\\AU  NoAutoUpdate: REG_DWORD 0 -> REG_QWORD 0",
            |image| {
                image.software.set(AUTO_UPDATE, "NoAutoUpdate", &Value::Qword(0)).unwrap();
            },
        ),
        (
            "  changed  HKLM\\SOFTWARE\\Microsoft\\Windows NT\\CurrentVersion\\Winlogon  DefaultPassword: a secret -> another secret",
            |image| {
                let key = r"Microsoft\Windows NT\CurrentVersion\Winlogon";
                image.software.set(key, "DefaultPassword", &text("hunter3")).unwrap();
            },
        ),
        ("  added    HKLM\\SOFTWARE\\New  (3 keys, 2 values)", |image| {
            image.software.set(r"New\a", "x", &Value::Dword(1)).unwrap();
            image.software.set(r"New\b", "y", &text("z")).unwrap();
        }),
        ("  added    HKLM\\SOFTWARE\\Kiln  (1 key, 1 value: Version = \"1\")", |image| {
            image.software.set("Kiln", "Version", &text("1")).unwrap();
        }),
        ("  changed  C:\\k\\kubelet.exe  content", |image| {
            image.file(r"k\kubelet.exe").sha1 = Some("0123".to_owned());
        }),
        ("  changed  C:\\k\\kubelet.exe  attributes none -> hidden, of the system", |image| {
            image.file(r"k\kubelet.exe").attributes = 6;
        }),
        ("  changed  C:\\K\\kubelet.exe  name k\\kubelet.exe -> K\\kubelet.exe", |image| {
            image.file(r"k\kubelet.exe").path = r"K\kubelet.exe".to_owned();
        }),
        ("  removed  C:\\k (and 1 below it)", |image| image.files.retain(|file| !file.path.starts_with('k'))),
        ("  added    C:\\new (and 1 below it)", |image| {
            let folder = Entry { kind: Kind::Folder, ..file("new", "") };
            image.files.extend([folder, file("new dot", "x"), file(r"new\x", "x")]);
        }),
        ("  +90 B       C:\\k  10 B -> 100 B", |image| image.file(r"k\kubelet.exe").size = 100),
    ];
    for (line, change) in cases {
        let difference = compare(image(|_| {}), image(change)).unwrap();
        let said = difference.to_string();
        assert!(said.lines().any(|own| own == *line), "{line}\nin\n{said}");
        assert!(!difference.is_empty() && difference.not_compared.is_empty(), "{said}");
    }
}

#[test]
fn rights_are_compared_where_both_tell_them_and_missed_where_not() {
    let other = |parts: &mut Parts| parts.file(r"k\kubelet.exe").rights = Some(Digest::of(b"nobody"));
    let difference = compare(image(|_| {}), image(other)).unwrap();
    assert_eq!(difference.files[0].aspects[0].of, "rights");
    let none = |parts: &mut Parts| parts.file(r"k\kubelet.exe").rights = None;
    let difference = compare(image(|_| {}), image(none)).unwrap();
    assert!(difference.is_empty());
    let said = difference.to_string();
    assert!(said.contains("rights of files: not compared: it does not tell those of 1"), "{said}");
}

#[test]
fn no_secret_of_a_registry_is_shown_in_any_form() {
    const SECRET: &str = "hunter2hunter2";
    let plant = |parts: &mut Parts| {
        let value = text(SECRET);
        parts
            .software
            .set(r"Microsoft\Windows NT\CurrentVersion\Winlogon", "DefaultPassword", &value)
            .unwrap();
        parts.software.set(r"New\Key", "ApiKey", &value).unwrap();
        parts.software.set(r"ORL\WinVNC3", "Password", &Value::Binary(SECRET.into())).unwrap();
        parts.system(r"Control\Lsa\JD", "Lookup", &value);
        parts.system(r"Services\SNMP\Parameters\ValidCommunities", SECRET, &Value::Dword(4));
        parts
            .software
            .set(r"Microsoft\Virtual Machine\External", "firstboot.config", &value)
            .unwrap();
        let command = text(&format!("C:\\k\\x.exe --token {SECRET}"));
        parts.system(r"Services\x", "ImagePath", &command);
        let proxy = text(&format!("http://user:{SECRET}@proxy:80/"));
        parts.system(crate::definition::windows::ENVIRONMENT, "HTTP_PROXY", &proxy);
        let variables = Value::MultiString(vec![format!("DB_PASSWORD={SECRET}")]);
        parts.system(r"Services\x", "Environment", &variables);
        for key in ["Password", r"Credentials\srv1", "Service-Token", r"a\ServiceTokens\b"] {
            for name in ["", "Value", "user1"] {
                parts.software.set(&format!("Vendor\\{key}"), name, &value).unwrap();
            }
        }
        for name in ["DB_PASS", "SMTP_AUTH", "GITHUB_PAT", "AWS_ACCESS_KEY", "PreSharedKey"] {
            parts.system(crate::definition::windows::ENVIRONMENT, name, &value);
        }
        let pieces = Value::MultiString(["--token", SECRET].map(str::to_owned).into());
        parts.software.set(r"Vendor\x", "Arguments", &pieces).unwrap();
        let community = format!(r"Services\SNMP\Parameters\TrapConfiguration\{SECRET}");
        parts.system(&community, "1", &text("192.0.2.1"));
    };
    let (empty, full) = (|_: &mut Parts| {}, plant);
    for difference in [compare(image(empty), image(full)), compare(image(full), image(empty))] {
        let difference = difference.unwrap();
        let json = serde_json::to_string(&difference).unwrap();
        let [plain, page] = [difference.to_string(), page(&difference)];
        for said in [&json, &plain, &page] {
            assert!(!said.contains(SECRET), "{said}");
        }
        assert!(json.contains("a secret") && json.contains("***@proxy"), "{json}");
    }
}

#[test]
fn command_lines_with_a_secret_are_known() {
    for secret in [
        "x.exe --token abc",
        "x.exe --token=abc",
        "x.exe /password:abc",
        "x.exe --discovery=abcdef.0123456789abcdef",
        "-----BEGIN PRIVATE KEY-----",
        "A=1 CLIENT_SECRET=x",
        r"x.exe --token=\x",
        "x.exe --token -x",
        "x.exe -P x",
        "curl -u a:x",
        "net use /user:a x",
        "Server=db;AccountKey=x",
        r#"{"token":"x"}"#,
        "password: 'x'",
        "password = x",
        r#"{"auths":{"r":{"auth":"x"}}}"#,
        "Authorization: Bearer x",
        "|abcdef.0123456789abcdef|",
        "YXBpVmVyc2lvbjogdjEKa2luZDogQ29uZmlnCmNsdXN0ZXJzOgotIA==",
    ] {
        assert!(has_secret(secret), "{secret}");
    }
    for plain in [
        r"C:\k\kubelet.exe --bootstrap-kubeconfig=C:\etc\kubernetes\bootstrap-kubelet.conf --v=2",
        r"C:\Windows\System32\svchost.exe -k LocalService -p",
        r"C:\Program Files\token\x.exe --verbose",
        r"%SystemRoot%\system32\credentialmigration.dll",
        "",
    ] {
        assert!(!has_secret(plain), "{plain}");
    }
}

#[test]
fn a_name_of_a_key_or_service_makes_no_line() {
    let forged = |parts: &mut Parts| {
        parts.software.set("a\nno difference", "x\ny", &Value::Dword(1)).unwrap();
        parts.software.set("Vendor\\a\nb", "x", &Value::Dword(1)).unwrap();
        parts.system("Services\\evil\nadded    harmless", "Start", &Value::Dword(4));
    };
    let said = compare(image(|_| {}), image(forged)).unwrap().to_string();
    assert!(!said.lines().any(|line| line == "no difference" || line.starts_with("added ")), "{said}");
}

#[test]
fn many_changes_below_a_long_path_are_told_shortly() {
    let long = vec!["k".repeat(200); 20].join("\\");
    let many = |parts: &mut Parts| {
        parts.software.set(&long, "first", &Value::Dword(0)).unwrap();
        for number in 0..300 {
            parts.software.set(&long, &format!("{number}"), &Value::Dword(number)).unwrap();
        }
    };
    let few = |parts: &mut Parts| parts.software.set(&long, "first", &Value::Dword(0)).unwrap();
    let difference = compare(image(few), image(many)).unwrap();
    assert_eq!(difference.windows.registry.len(), 300);
    assert!(difference.windows.registry.iter().all(|change| change.key.len() < 1100));
}

#[test]
fn a_registry_with_more_changes_than_are_told_counts_the_others() {
    let many = |parts: &mut Parts| {
        for number in 0..150 {
            parts.software.set("Whole", &format!("{number:03}"), &Value::Dword(number)).unwrap();
        }
    };
    let difference = compare(image(|_| {}), image(many)).unwrap();
    let [change] = difference.windows.registry.as_slice() else { panic!("{difference}") };
    let whole = change.whole.as_ref().unwrap();
    assert_eq!((change.what, whole.keys, whole.values, whole.first.len()), (What::Added, 1, 150, 100));
}

#[test]
fn an_image_of_linux_and_one_of_windows_are_not_compared() {
    let mut linux = Image { title: "linux".to_owned(), ..Image::default() };
    linux.tree = Some(crate::tree::Tree::default());
    let error = compare(linux, image(|_| {})).unwrap_err();
    assert!(error.message().contains("linux is an image of Linux, and it one of Windows"), "{error}");
}
