use super::*;

const UNITS: &str = "usr/lib/systemd/system";

fn tree(units: &[(&str, &str)]) -> Tree {
    let mut tree = Tree::default();
    for (path, text) in units {
        let entry = match text.strip_prefix("-> ") {
            Some(target) => Entry::symlink(target),
            None => Entry::file(Body::inline(text.as_bytes()), 0o644),
        };
        tree.insert(if path.contains('/') { (*path).to_owned() } else { format!("{UNITS}/{path}") }, entry);
    }
    tree.complete();
    tree
}

fn run(tree: &Tree, enabled: &[&str], masked: &[&str]) -> Result<Vec<String>> {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let links = enable(tree, &owned(enabled), &owned(masked))?;
    Ok(links
        .entries
        .iter()
        .map(|(path, entry)| match &entry.node {
            Node::Symlink(target) => {
                format!("{} {target}", path.strip_prefix("etc/systemd/system/").unwrap())
            }
            _ => panic!("{path} is no link"),
        })
        .collect())
}

#[test]
fn all_keys_of_install_make_links() {
    let text = "[Unit]\nWantedBy=no.target\n[Install]\n# WantedBy=no.target\nWantedBy=multi-user.target \\\n  other.target\nRequiredBy=r.target\nUpheldBy=u.target\nAlias=also-known.service\nAlso=helper.socket\n";
    let tree = tree(&[("kubelet.service", text), ("helper.socket", "[Install]\nWantedBy=sockets.target\n")]);
    assert_eq!(
        run(&tree, &["kubelet.service"], &[]).unwrap(),
        [
            "also-known.service /usr/lib/systemd/system/kubelet.service",
            "multi-user.target.wants/kubelet.service /usr/lib/systemd/system/kubelet.service",
            "other.target.wants/kubelet.service /usr/lib/systemd/system/kubelet.service",
            "r.target.requires/kubelet.service /usr/lib/systemd/system/kubelet.service",
            "sockets.target.wants/helper.socket /usr/lib/systemd/system/helper.socket",
            "u.target.upholds/kubelet.service /usr/lib/systemd/system/kubelet.service",
        ]
    );
}

#[test]
fn templates_take_the_instance_or_the_default() {
    let tree = tree(&[
        (
            "getty@.service",
            "[Install]\nWantedBy=getty.target\nDefaultInstance=tty1\nAlias=console-%i.service\n",
        ),
        ("bare@.service", "[Install]\nWantedBy=a.target\n"),
    ]);
    assert_eq!(
        run(&tree, &["getty@ttyS0.service"], &[]).unwrap(),
        [
            "console-ttyS0.service /usr/lib/systemd/system/getty@.service",
            "getty.target.wants/getty@ttyS0.service /usr/lib/systemd/system/getty@.service"
        ]
    );
    assert!(
        run(&tree, &["getty@.service"], &[]).unwrap()[1]
            .starts_with("getty.target.wants/getty@tty1.service ")
    );
    let error = run(&tree, &["bare@.service"], &[]).unwrap_err();
    assert_eq!(error.hint(), Some("enable an instance of it: bare@INSTANCE.service"));
}

#[test]
fn drop_ins_add_and_reset() {
    let tree = tree(&[
        ("a.service", "[Install]\nWantedBy=old.target\n"),
        ("etc/systemd/system/a.service.d/10-first.conf", "[Install]\nWantedBy=\nWantedBy=new.target\n"),
        ("usr/lib/systemd/system/a.service.d/10-first.conf", "[Install]\nWantedBy=hidden.target\n"),
        ("usr/lib/systemd/system/a.service.d/ignored.txt", "[Install]\nWantedBy=no.target\n"),
    ]);
    assert_eq!(
        run(&tree, &["a.service"], &[]).unwrap(),
        ["new.target.wants/a.service /usr/lib/systemd/system/a.service"]
    );
}

#[test]
fn a_local_unit_hides_the_distribution_s() {
    let tree = tree(&[
        ("a.service", "[Install]\nWantedBy=old.target\n"),
        ("etc/systemd/system/a.service", "[Install]\nWantedBy=new.target\n"),
    ]);
    assert_eq!(
        run(&tree, &["a.service"], &[]).unwrap(),
        ["new.target.wants/a.service /etc/systemd/system/a.service"]
    );
}

#[test]
fn what_is_enabled_already_is_left_out() {
    let tree = tree(&[
        ("lib", "-> usr/lib"),
        ("a.service", "[Install]\nWantedBy=m.target\n"),
        ("etc/systemd/system/m.target.wants/a.service", "-> /lib/systemd/system/a.service"),
        ("etc/systemd/system/m.target.wants/b.service", "-> /lib/systemd/system/other.service"),
        ("b.service", "[Install]\nWantedBy=m.target\n"),
    ]);
    let tree = Tree {
        entries: tree.entries.into_iter().chain([("lib".to_owned(), Entry::symlink("usr/lib"))]).collect(),
    };
    assert!(run(&tree, &["a.service"], &[]).unwrap().is_empty());
    let error = run(&tree, &["b.service"], &[]).unwrap_err();
    assert!(error.message().contains("but is one to /lib/systemd/system/other.service"), "{error}");
}

#[test]
fn masking_makes_a_link_to_nothing() {
    let tree = tree(&[
        ("swap.target", "[Unit]\n"),
        ("ctrl-alt-del.target", "-> reboot.target"),
        ("etc/systemd/system/own.service", "[Unit]\n"),
    ]);
    assert_eq!(
        run(&tree, &[], &["swap.target", "ctrl-alt-del.target"]).unwrap(),
        ["ctrl-alt-del.target /dev/null", "swap.target /dev/null"]
    );
    assert!(
        run(&tree, &[], &["own.service"])
            .unwrap_err()
            .message()
            .contains("cannot be masked: it lies in etc/systemd/system")
    );
    assert!(
        run(&tree, &["swap.target"], &["swap.target"])
            .unwrap_err()
            .message()
            .contains("both enabled and masked")
    );
}

#[test]
fn mistakes_are_told_with_near_names() {
    let tree = tree(&[
        ("kubelet.service", "[Install]\nWantedBy=m.target\n"),
        ("static.service", "[Service]\n"),
        ("other-name.service", "-> kubelet.service"),
        ("odd.service", "[Install]\nWantedBy=%H.target\n"),
        ("etc/systemd/system/dead.service", "-> /dev/null"),
    ]);
    let table = [
        ("kublet.service", "there is no unit kublet.service", "did you mean \"kubelet.service\"?"),
        ("static.service", "has no [Install] section", "started by others"),
        ("other-name.service", "only another name of the unit kubelet.service", "use \"kubelet.service\""),
        ("odd.service", "not known before boot", "%i"),
        ("dead.service", "is masked by", "remove the mask"),
    ];
    for (unit, message, hint) in table {
        let error = run(&tree, &[unit], &[]).unwrap_err();
        assert!(error.message().contains(message) && error.hint().unwrap().contains(hint), "{unit}: {error}");
    }
    assert!(run(&tree, &[], &["kublet.service"]).unwrap_err().message().contains("there is no unit"));
}

#[test]
fn what_systemd_never_looks_at_is_told() {
    let tree = tree(&[
        ("here.service", "[Install]\nWantedBy=multiuser.target multi-user.target\n"),
        ("multi-user.target", ""),
        ("getty@.service", ""),
    ]);
    let drop_ins = [
        "etc/systemd/system/here.service.d/a.conf",
        "usr/lib/systemd/system/gone.service.d/a.conf",
        "usr/lib/systemd/system/getty@tty1.service.d/a.conf",
        "usr/lib/systemd/system/service.d/a.conf",
        "usr/lib/systemd/system/cri-containerd-.scope.d/a.conf",
        "usr/lib/systemd/system/run-x-.mount.d/a.conf",
        "etc/systemd/journald.conf.d/a.conf",
        "etc/other.service.d/a.conf",
    ];
    let told = unheard(
        &tree,
        drop_ins.map(|path| ("mine", path)),
        &["here.service".to_owned(), "gone.service".to_owned()],
    );
    assert_eq!(
        told,
        [
            "the layer mine changes gone.service, which the image does not have: /usr/lib/systemd/system/gone.service.d/a.conf",
            "here.service is to be started by multiuser.target, which the image does not have",
        ]
    );
}
