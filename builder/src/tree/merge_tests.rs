use super::*;
use crate::tree::Body;

fn tree<const N: usize>(entries: [(&str, Entry); N]) -> Tree {
    Tree { entries: entries.map(|(path, entry)| (path.to_owned(), entry)).into() }
}

fn file(content: &str) -> Entry {
    Entry::file(Body::inline(content.as_bytes()), 0o644)
}

fn merge_two(lower: &Tree, upper: &Tree, replaces: &[&str]) -> Result<Merged> {
    let replaces: Vec<String> = replaces.iter().map(|path| (*path).to_owned()).collect();
    merge(&[
        Layer { name: "debian", tree: lower, replaces: &[] },
        Layer { name: "runc", tree: upper, replaces: &replaces },
    ])
}

#[test]
fn layers_add_up_and_paths_have_owners() {
    let merged =
        merge_two(&tree([("usr/bin/sh", file("sh"))]), &tree([("usr/sbin/runc", file("runc"))]), &[])
            .unwrap();
    assert_eq!(
        merged.tree.entries.keys().collect::<Vec<_>>(),
        ["usr", "usr/bin", "usr/bin/sh", "usr/sbin", "usr/sbin/runc"]
    );
    assert_eq!(merged.owner.values().copied().collect::<Vec<_>>(), [0, 0, 0, 1, 1]);
}

#[test]
fn the_same_path_twice_names_both_layers() {
    let (lower, upper) = (tree([("etc/motd", file("a"))]), tree([("etc/motd", file("b"))]));
    let error = merge_two(&lower, &upper, &[]).unwrap_err();
    assert_eq!(error.message(), "layers debian and runc both write etc/motd");
    let merged = merge_two(&lower, &upper, &["etc/motd"]).unwrap();
    assert_eq!((merged.tree.get("etc/motd"), merged.owner["etc/motd"]), (Some(&file("b")), 1));
}

#[test]
fn the_same_content_twice_is_still_two_layers() {
    let same = tree([("etc/motd", file("a"))]);
    assert!(merge_two(&same, &same, &[]).is_err());
}

#[test]
fn folders_merge_when_they_agree() {
    let lower = tree([("opt", Entry::directory(0o755)), ("opt/a", file("a"))]);
    assert!(merge_two(&lower, &tree([("opt", Entry::directory(0o755)), ("opt/b", file("b"))]), &[]).is_ok());
    let private = tree([("opt", Entry::directory(0o700))]);
    let error = merge_two(&lower, &private, &[]).unwrap_err();
    assert!(error.message().contains("mode 0755, owner 0:0 and mode 0700"), "{error}");
    let merged = merge_two(&lower, &private, &["opt"]).unwrap();
    assert_eq!((merged.tree.get("opt").unwrap().mode, merged.tree.get("opt/a")), (0o700, Some(&file("a"))));
}

#[test]
fn a_declared_folder_wins_over_an_implied_one() {
    let merged =
        merge_two(&tree([("srv/a", file("a"))]), &tree([("srv", Entry::directory(0o700))]), &[]).unwrap();
    assert_eq!(merged.tree.get("srv").unwrap().mode, 0o700);
    let merged =
        merge_two(&tree([("srv", Entry::directory(0o700))]), &tree([("srv/a", file("a"))]), &[]).unwrap();
    assert_eq!(merged.tree.get("srv").unwrap().mode, 0o700);
}

#[test]
fn a_link_over_an_implied_folder_is_a_conflict_and_takes_its_contents_when_declared() {
    let (lower, upper) = (tree([("opt/cni/a", file("a"))]), tree([("opt/cni", Entry::symlink("../x"))]));
    assert_eq!(
        merge_two(&lower, &upper, &[]).unwrap_err().message(),
        "layers debian and runc both write opt/cni"
    );
    let merged = merge_two(&lower, &upper, &["opt/cni"]).unwrap();
    assert_eq!(merged.tree.entries.keys().collect::<Vec<_>>(), ["opt", "opt/cni"]);
    assert_eq!(merged.owner["opt/cni"], 1);
}

#[test]
fn writing_through_a_link_says_the_real_path() {
    let lower = tree([
        ("bin", Entry::symlink("usr/bin")),
        ("usr/bin/sh", file("sh")),
        ("etc/alias", Entry::symlink("/bin")),
    ]);
    let error = merge_two(&lower, &tree([("bin/runc", file("runc"))]), &[]).unwrap_err();
    assert_eq!(error.message(), "layer runc writes bin/runc, but bin is a link of layer debian");
    assert_eq!(error.hint(), Some("write usr/bin/runc instead"));
    let error = merge_two(&lower, &tree([("etc/alias/x", file("x"))]), &[]).unwrap_err();
    assert_eq!(error.hint(), Some("write usr/bin/x instead"));
    let error = merge_two(&lower, &tree([("usr/bin/sh/x", file("x"))]), &[]).unwrap_err();
    assert_eq!(error.message(), "layer runc writes usr/bin/sh/x, but usr/bin/sh is a file of layer debian");
}

#[test]
fn replacing_nothing_is_an_error() {
    let lower = tree([("etc/motd", file("a"))]);
    let table = [
        (tree([("etc/motb", file("b"))]), "etc/motb", "but no lower layer writes it"),
        (tree([("etc/other", file("b"))]), "etc/motd", "but does not write it"),
        (tree([("etc/other", file("b"))]), "etc/modt", "but no layer writes it"),
    ];
    for (upper, replaces, expected) in table {
        let error = merge_two(&lower, &upper, &[replaces]).unwrap_err();
        assert!(error.message().ends_with(expected), "{error}");
    }
    let error = merge_two(&lower, &tree([("etc/other", file("b"))]), &["etc/modt"]).unwrap_err();
    assert!(error.hint().unwrap().contains("etc/motd"), "{error}");
}

#[test]
fn links_in_a_circle_have_no_real_path() {
    let circle = tree([("a", Entry::symlink("b")), ("b", Entry::symlink("a"))]);
    assert_eq!(real_path(&circle, "a/x"), None);
    assert_eq!(real_path(&circle, "../c/./d"), Some("c/d".into()));
}
