use super::*;
use crate::definition::plan::Arch;
use crate::lock::diff::What;
use crate::tree::{Body, Entry};

/// An image with one package, one enabled unit and a kernel's command line.
fn image(change: impl FnOnce(&mut Subject)) -> Side {
    let mut tree = Tree::default();
    let status = "Package: bash\nStatus: install ok installed\nVersion: 5.2-1\nArchitecture: amd64\n\n";
    for (path, text) in [
        ("usr/lib/os-release", "ID=x\nPRETTY_NAME=\"X 1\"\n"),
        ("var/lib/dpkg/status", status),
        ("usr/lib/systemd/system/a.service", "[Service]\n"),
        ("usr/lib/modules/6.12.1/x.ko", "a module"),
        ("etc/app.conf", "key = 1\n"),
    ] {
        tree.insert(path, Entry::file(Body::inline(text.as_bytes()), 0o644));
    }
    let link = Entry::symlink("/usr/lib/systemd/system/a.service");
    tree.insert("etc/systemd/system/multi-user.target.wants/a.service", link);
    tree.complete();
    let mut subject = Subject::new(tree, Arch::Amd64);
    subject.command_lines.push("root=PARTUUID=1 console=tty0 console=ttyS0 quiet".to_owned());
    change(&mut subject);
    subject.tree.complete();
    Side::of_image("it".to_owned(), subject).unwrap()
}

fn lock(version: &str) -> Side {
    let text = format!(
        "schema = 1\nimage = 'x'\narch = 'amd64'\n[base]\ndistribution = 'debian'\nsuite = 'trixie'\ninstall = []\n\
         extract = []\n[[package]]\nname = 'bash'\nversion = '{version}'\narchitecture = 'amd64'\nsource = 'bash'\n\
         archive = 'debian'\npath = 'p'\nsize = 1\nsha256 = '{digest}'\ninstall = true\n[[package]]\nname = 'grub'\n\
         version = '1'\narchitecture = 'amd64'\nsource = 'grub'\narchive = 'debian'\npath = 'g'\nsize = 1\n\
         sha256 = '{digest}'\ninstall = false\n",
        digest = crate::digest::Digest::of(b"")
    );
    Side::of_lock("x.lock".to_owned(), &toml::from_str(&text).unwrap())
}

fn put(subject: &mut Subject, path: &str, text: &str) {
    subject.tree.insert(path, Entry::file(Body::inline(text.as_bytes()), 0o644));
}

/// What an image has instead, and a line of the text that says so.
type Case = (&'static str, fn(&mut Subject));

#[test]
fn each_difference_is_told_in_its_list_and_the_same_image_has_none() {
    let same = compare(image(|_| {}), image(|_| {})).unwrap();
    assert_eq!((same.is_empty(), same.to_string().as_str()), (true, "no difference"));
    let cases: &[Case] = &[
        ("  up       bash  5.2-1 -> 5.2-2", |image| {
            let status = "Package: bash\nStatus: install ok installed\nVersion: 5.2-2\nArchitecture: amd64\n";
            put(image, "var/lib/dpkg/status", status);
        }),
        ("  changed  /etc/app.conf  content", |image| put(image, "etc/app.conf", "key = 2\n")),
        ("  changed  /etc/app.conf  content, 8 B -> 10 B", |image| put(image, "etc/app.conf", "key = 100\n")),
        ("  changed  /etc/app.conf  mode 0644 -> 0600, owner 0:0 -> 0:42", |image| {
            let entry = Entry { mode: 0o600, gid: 42, ..image.tree.get("etc/app.conf").unwrap().clone() };
            image.tree.insert("etc/app.conf", entry);
        }),
        ("  changed  /etc/app.conf  security.capability none -> 01", |image| {
            let mut entry = image.tree.get("etc/app.conf").unwrap().clone();
            entry.xattrs.insert("security.capability".to_owned(), vec![1]);
            image.tree.insert("etc/app.conf", entry);
        }),
        (
            "  changed  /etc/app.conf  kind file -> link, link none -> /x, mode 0644 -> 0777, size 8 -> none",
            |image| {
                image.tree.insert("etc/app.conf", Entry::symlink("/x"));
            },
        ),
        ("  added    /opt (and 2 below it)", |image| put(image, "opt/tool/new", "x")),
        ("  removed  /etc/app.conf  8 B", |image| image.tree.remove("etc/app.conf")),
        ("  removed  a.service  multi-user.target wants it", |image| {
            image.tree.remove("etc/systemd/system/multi-user.target.wants/a.service");
        }),
        ("  added    b.service  masked", |image| {
            image.tree.insert("etc/systemd/system/b.service", Entry::symlink("/dev/null"));
        }),
        ("  added    c.service  another name of a.service", |image| {
            image
                .tree
                .insert("etc/systemd/system/c.service", Entry::symlink("/usr/lib/systemd/system/a.service"));
        }),
        ("  changed  root  root=PARTUUID=1 -> root=PARTUUID=2", |image| {
            image.command_lines[0] = image.command_lines[0].replace("PARTUUID=1", "PARTUUID=2");
        }),
        ("  removed  console=tty0  console=tty0", |image| {
            image.command_lines[0] = image.command_lines[0].replace("console=tty0 ", "");
        }),
        ("  changed  kernel  6.12.1 -> 6.12.2", |image| {
            image.tree.remove("usr/lib/modules/6.12.1");
            put(image, "usr/lib/modules/6.12.2/x.ko", "a module");
        }),
        ("  +92 B       /usr/lib/modules  8 B -> 100 B", |image| {
            put(image, "usr/lib/modules/6.12.1/x.ko", &"x".repeat(100));
        }),
    ];
    for (line, change) in cases {
        let difference = compare(image(|_| {}), image(change)).unwrap();
        let text = difference.to_string();
        assert!(text.lines().any(|own| own == *line), "{line}\nin\n{text}");
        assert!(!difference.is_empty() && difference.not_compared.is_empty(), "{text}");
    }
}

#[test]
fn a_lock_and_an_image_are_compared_in_what_both_know() {
    let alike = compare(lock("5.2-1"), image(|_| {})).unwrap();
    assert!(alike.is_empty(), "{alike}");
    let missing: Vec<&str> = alike.not_compared.iter().map(|one| one.what).collect();
    assert_eq!(missing, ["parts", "container images", "kernel arguments", "units", "files"]);
    assert_eq!(alike.not_compared[0].why, "it does not tell of them");
    let other = compare(lock("5.1-1"), image(|_| {})).unwrap();
    assert_eq!(other.to_string().lines().next(), Some("packages: 1 up"));
    let locks = compare(lock("5.1-1"), lock("5.2-1")).unwrap();
    assert_eq!(locks.not_compared, []);
}

#[test]
fn long_lists_are_cut_in_text_alone() {
    let many = |image: &mut Subject| (0..100).for_each(|number| put(image, &format!("etc/{number:03}"), "x"));
    let difference = compare(image(|_| {}), image(many)).unwrap();
    let text = difference.to_string();
    assert!(text.contains("/etc/039") && !text.contains("/etc/040"), "{text}");
    assert!(text.contains("files: 100 added") && text.contains("… and 60 more"), "{text}");
    let json = serde_json::to_value(&difference).unwrap();
    assert_eq!(json["files"].as_array().map(Vec::len), Some(100));
    assert_eq!(json["files"][0]["what"], "added");
    assert_eq!(page(&difference).matches("class=\"added\"").count(), 100);
}

#[test]
fn a_page_has_no_element_of_a_hostile_image() {
    let hostile = "etc/<script>alert(1)</script>\"'&";
    let difference = compare(image(|_| {}), image(|image| put(image, hostile, "x"))).unwrap();
    let page = page(&difference);
    assert!(
        !page.contains("<script") && page.contains("&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&amp;")
    );
    for outside in ["http://", "https://", "src=\"", "url(", "@import"] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert_eq!(difference.files[0].what, What::Added);
}

#[test]
fn outputs_of_images_with_two_names_stand_beside_each_other() {
    let side = |name: &str, raw: &str| Side {
        pins: Pins { settings: BTreeMap::from([("image".to_owned(), name.to_owned())]), ..Pins::default() },
        outputs: Some(BTreeMap::from([
            (format!("{name}.raw"), raw.to_owned()),
            (format!("{name}-oci/index.json"), "i".to_owned()),
            ("sbom.cdx.json".to_owned(), "s".to_owned()),
        ])),
        ..Side::default()
    };
    assert!(compare(side("a", "1"), side("b", "1")).unwrap().outputs.is_empty());
    let changed = compare(side("a", "1"), side("b", "2")).unwrap().outputs;
    assert_eq!(changed.len(), 1, "{changed:?}");
}
