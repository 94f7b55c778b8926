use std::os::unix::fs::symlink;

use super::*;
use crate::host::mounts::unescaped;

/// A machine whose mounts are lines of text.
#[derive(Default)]
struct Pretended {
    calls: Vec<String>,
    mounts: Vec<String>,
    busy: Option<PathBuf>,
    runtime_is_dead: bool,
    flags: Option<UnmountFlags>,
}

impl ResetHost for Pretended {
    fn stop_kubelet(&mut self) -> Result<()> {
        self.calls.push("stop".to_owned());
        Ok(())
    }

    fn remove_pods(&mut self) -> Result<usize> {
        self.calls.push("pods".to_owned());
        if self.runtime_is_dead { Err(Failure::new(ErrorKind::Runtime, "no answer")) } else { Ok(0) }
    }

    fn mounts(&mut self) -> Result<String> {
        Ok(self
            .mounts
            .iter()
            .map(|point| format!("36 35 98:0 / {point} rw,noatime shared:1 - tmpfs tmpfs rw\n"))
            .collect())
    }

    fn unmount(&mut self, path: &Path, flags: UnmountFlags) -> Result<()> {
        self.flags = Some(flags);
        self.calls.push(format!("unmount {}", path.file_name().unwrap().display()));
        if self.busy.as_deref() == Some(path) {
            return Err(nix::errno::Errno::EBUSY).doing(format!("unmounting {}", path.display()));
        }
        let at = self.mounts.iter().rposition(|point| unescaped(point) == path).unwrap();
        self.mounts.remove(at);
        Ok(())
    }
}

const GONE: &[&str] = &[
    "etc/kubernetes/kubelet.conf",
    "etc/kubernetes/bootstrap-kubelet.conf",
    "etc/kubernetes/manifests/pod.yaml",
    "etc/kubernetes/pki/ca.crt",
    "var/lib/kubelet/config.yaml",
    "var/lib/kubelet/pki/.firstboot-client.key",
    "var/lib/kubelet/pods/1/volumes/secret",
    "var/lib/kubelet/volume-plugins/vendor~driver/driver",
    "var/lib/cni/networks/x",
    "var/lib/firstboot/journal",
];
const STAY: &[&str] =
    &["etc/cni/net.d/10.conflist", "etc/kubernetes/other.txt", "var/lib/outside/file", "var/lib/etcd/db"];

fn joined() -> (tempfile::TempDir, Root) {
    let folder = tempfile::tempdir().unwrap();
    for path in GONE.iter().chain(STAY) {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "x").unwrap();
    }
    fs::write(folder.path().join("etc/hosts"), "::1 localhost\n").unwrap();
    let root = Root::at(folder.path());
    names::add(&root, "n01").unwrap();
    (folder, root)
}

fn failures(steps: &[Step]) -> Vec<Failure> {
    let failure = |step: &Step| match &step.outcome {
        Outcome::Failed(failure) => Some(failure.clone()),
        _ => None,
    };
    steps.iter().filter_map(failure).collect()
}

#[test]
fn leaves_the_machine_as_the_image_made_it() {
    let (folder, root) = joined();
    let outside = folder.path().join("var/lib/outside");
    symlink(&outside, folder.path().join("var/lib/kubelet/pods/1/link")).unwrap();
    symlink(&outside, folder.path().join("var/lib/kubelet/link")).unwrap();
    let mut heard = Vec::new();
    let steps =
        reset(&root, &mut Pretended::default(), &Choice::default(), &mut |step| heard.push(step.clone()));
    assert!(failures(&steps).is_empty(), "{steps:?}");
    assert_eq!(heard, steps);
    for path in GONE {
        assert!(!folder.path().join(path).exists(), "{path}");
    }
    for path in STAY {
        assert!(folder.path().join(path).exists(), "{path}");
    }
    for empty in [
        "var/lib/kubelet/volume-plugins",
        "etc/kubernetes/manifests",
        "etc/kubernetes/pki",
        "var/lib/firstboot",
        "var/lib/cni",
    ] {
        assert_eq!(fs::read_dir(folder.path().join(empty)).unwrap().count(), 0, "{empty}");
    }
    assert_eq!(fs::read_dir(folder.path().join("var/lib/kubelet")).unwrap().count(), 1);
    assert_eq!(fs::read_to_string(folder.path().join("etc/hosts")).unwrap(), "::1 localhost\n");

    // Without its manifest, etcd is somebody else's.
    let etcd = folder.path().join("var/lib/etcd/db");
    assert!(etcd.exists());
    fs::write(root.path(paths::ETCD_MANIFEST), "x").unwrap();
    reset(&root, &mut Pretended::default(), &Choice::default(), &mut |_| {});
    assert!(!etcd.exists() && !root.path(paths::ETCD_MANIFEST).exists());

    let again = reset(&root, &mut Pretended::default(), &Choice::default(), &mut |_| {});
    assert!(again.iter().skip(1).all(|step| step.outcome == Outcome::Nothing), "{again:?}");
}

#[test]
fn unmounts_the_deepest_first_and_only_below() {
    let (folder, root) = joined();
    let kubelet = folder.path().join("var/lib/kubelet").display().to_string();
    let mut machine = Pretended {
        mounts: ["", "/a", "/a/b\\040c", "/a", "/a/d/e"]
            .iter()
            .map(|below| format!("{kubelet}{below}"))
            .collect(),
        ..Pretended::default()
    };
    machine.mounts.push(format!("{kubelet}2/x"));
    let steps = reset(&root, &mut machine, &Choice::default(), &mut |_| {});
    assert!(failures(&steps).is_empty(), "{steps:?}");
    assert_eq!(machine.calls, ["stop", "pods", "unmount e", "unmount b c", "unmount a", "unmount a"]);
    assert_eq!(machine.mounts, [kubelet.clone(), format!("{kubelet}2/x")]);
}

#[test]
fn nothing_is_wiped_through_a_mount_and_all_other_steps_are_done() {
    let (folder, root) = joined();
    let busy = folder.path().join("var/lib/kubelet/pods/1/volumes");
    let mut machine = Pretended {
        mounts: vec![busy.display().to_string()],
        busy: Some(busy.clone()),
        runtime_is_dead: true,
        ..Pretended::default()
    };
    let steps = reset(&root, &mut machine, &Choice::default(), &mut |_| {});
    let messages: Vec<String> = failures(&steps).into_iter().map(|failure| failure.message).collect();
    assert_eq!(messages.len(), 3, "{messages:?}");
    assert!(messages[1].contains("busy") && messages[2].contains("is still mounted"), "{messages:?}");
    assert!(busy.join("secret").exists() && folder.path().join("var/lib/kubelet/pki").exists());
    assert!(
        !folder.path().join("etc/kubernetes/kubelet.conf").exists()
            && !folder.path().join("var/lib/cni/networks").exists()
    );
}

#[test]
fn a_folder_that_is_a_link_is_not_entered() {
    let (folder, root) = joined();
    fs::remove_dir_all(folder.path().join("var/lib/cni")).unwrap();
    symlink(folder.path().join("var/lib/outside"), folder.path().join("var/lib/cni")).unwrap();
    let steps = reset(&root, &mut Pretended::default(), &Choice::default(), &mut |_| {});
    let failed = failures(&steps);
    assert!(failed.len() == 1 && failed[0].message.contains("/var/lib/cni: it is no folder"), "{failed:?}");
    assert!(folder.path().join("var/lib/outside/file").exists());
}

#[test]
fn nothing_beside_another_root_is_wiped_through_a_link_of_a_folder_above() {
    let (folder, root) = joined();
    let outside = tempfile::tempdir().unwrap();
    let wanted =
        ["kubernetes/admin.conf", "kubernetes/pki/ca.crt", "kubernetes/kubelet.conf", "kubelet/pki/key"];
    for path in wanted {
        files::write(&outside.path().join(path), b"x", files::PRIVATE).unwrap();
    }
    for (link, target) in [("etc/kubernetes", "kubernetes"), ("var/lib/kubelet", "kubelet")] {
        fs::remove_dir_all(folder.path().join(link)).unwrap();
        symlink(outside.path().join(target), folder.path().join(link)).unwrap();
    }
    let steps = reset(&root, &mut Pretended::default(), &Choice::default(), &mut |_| {});
    assert!(steps.len() > 5);
    assert!(wanted.iter().all(|path| outside.path().join(path).exists()), "a link led out of the root");
}

const NAMED: &[&str] = &["srv/pki/ca.crt", "srv/pki/ca.key", "srv/pki/sa.pub", "srv/pki/etcd/server.key"];

fn naming(folder: &str) -> Choice {
    Choice { certificates: folder.into(), ..Choice::default() }
}

#[test]
fn only_kubeadms_files_are_removed_from_a_named_folder() {
    let (folder, root) = joined();
    let others = ["srv/pki/libc.so", "srv/pki/etcd/db", "srv/pki/deep/ca.crt", "srv/pki/apiserver.crt/x"];
    for path in NAMED.iter().chain(&others) {
        files::write(&folder.path().join(path), b"x", files::PUBLIC).unwrap();
    }
    let choice = naming("/srv/pki");
    check(&root, &mut Pretended::default(), &choice).unwrap();
    let steps = reset(&root, &mut Pretended::default(), &choice, &mut |_| {});
    let names: Vec<String> = steps.iter().map(|step| step.name.clone()).collect();
    assert_eq!((names, failures(&steps)), (plan(&root, &choice), Vec::new()));
    assert!(NAMED.iter().all(|path| !folder.path().join(path).exists()));
    assert!(others.iter().all(|path| folder.path().join(path).exists()));
}

#[test]
fn a_named_folder_that_leads_elsewhere_is_refused_and_nothing_is_removed_through_links() {
    let (folder, root) = joined();
    let kept = ["usr/lib/ca.crt", "data/pki/ca.crt", "data/etcd/server.key"];
    for path in kept {
        files::write(&folder.path().join(path), b"x", files::PUBLIC).unwrap();
    }
    fs::create_dir_all(folder.path().join("srv")).unwrap();
    symlink("/usr/lib", folder.path().join("srv/system")).unwrap();
    symlink("/usr", folder.path().join("srv/usr")).unwrap();
    symlink("/data/etcd", folder.path().join("data/pki/etcd")).unwrap();
    let real = folder.path().canonicalize().unwrap().join("data/pki").display().to_string();
    let mut machine = Pretended { mounts: vec![real], ..Pretended::default() };
    for (named, why) in [
        ("/srv/system", "it leads to /usr/lib, a folder of the system"),
        ("/srv/usr/lib", "it leads to /usr/lib, a folder of the system"),
        ("/data/pki", "a file system is mounted there"),
        ("/data/pki/ca.crt", "it is no folder"),
    ] {
        let failure = check(&root, &mut machine, &naming(named)).unwrap_err();
        assert!(failure.message.contains(named) && failure.message.contains(why), "{failure}");
    }
    for named in ["/srv/system", "/srv/usr/lib"] {
        reset(&root, &mut machine, &naming(named), &mut |_| {});
    }
    assert!(kept.iter().all(|path| folder.path().join(path).exists()));
    reset(&root, &mut machine, &naming("/data/pki"), &mut |_| {});
    assert!(
        !folder.path().join("data/pki/ca.crt").exists()
            && folder.path().join("data/etcd/server.key").exists()
    );
}

#[test]
fn mounts_below_a_folder_that_is_reached_by_a_link_are_seen() {
    let (folder, root) = joined();
    fs::rename(folder.path().join("var/lib"), folder.path().join("data")).unwrap();
    symlink("/data", folder.path().join("var/lib")).unwrap();
    let link = folder.path().join("same");
    symlink(folder.path(), &link).unwrap();
    let busy = folder.path().canonicalize().unwrap().join("data/kubelet/pods/1/volumes");
    for root in [root, Root::at(link)] {
        let mut machine = Pretended {
            mounts: vec![busy.display().to_string()],
            busy: Some(busy.clone()),
            ..Pretended::default()
        };
        let steps = reset(&root, &mut machine, &Choice::default(), &mut |_| {});
        assert!(machine.calls.contains(&"unmount volumes".to_owned()), "{:?}", machine.calls);
        assert_eq!(failures(&steps).len(), 2, "{steps:?}");
        assert!(busy.join("secret").exists());
    }
}

#[test]
fn a_root_without_a_machine_in_it_is_not_reset() {
    let folder = tempfile::tempdir().unwrap();
    let root = Root::at(folder.path());
    let failure = check(&root, &mut Pretended::default(), &Choice::default()).unwrap_err();
    assert!(failure.message.contains("neither /etc nor /var"), "{failure}");
    fs::create_dir(folder.path().join("etc")).unwrap();
    check(&root, &mut Pretended::default(), &Choice::default()).unwrap();
}

#[test]
fn octal_escapes_of_the_kernel_are_read() {
    for (written, meant) in [
        ("/a\\040b", "/a b"),
        ("/a\\134040", "/a\\040"),
        ("/a\\9", "/a\\9"),
        ("/a\\", "/a\\"),
        ("/a\\777", "/a\\777"),
    ] {
        assert_eq!(unescaped(written), Path::new(meant));
    }
}

#[test]
fn what_is_chosen_is_done() {
    let (folder, root) = joined();
    for path in [
        "srv/pki/ca.crt",
        "etc/kubernetes/tmp/kubeadm-backup/x",
        "etc/sysctl.d/90-firstboot.conf",
        "etc/sysctl.d/other.conf",
    ] {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "x").unwrap();
    }
    let volume = root.path("/var/lib/kubelet/pods/1/volumes");
    let mut machine = Pretended { mounts: vec![volume.display().to_string()], ..Pretended::default() };
    let choice = Choice { certificates: "/srv/pki".into(), scratch: true, unmount: UnmountFlags::MNT_DETACH };
    assert!(failures(&reset(&root, &mut machine, &choice, &mut |_| {})).is_empty());
    assert_eq!(machine.flags, Some(UnmountFlags::MNT_DETACH));
    let is_there = |path: &str| folder.path().join(path).exists();
    assert!(
        !is_there("srv/pki/ca.crt")
            && !is_there("etc/kubernetes/tmp/kubeadm-backup")
            && !is_there("etc/sysctl.d/90-firstboot.conf")
    );
    assert!(
        is_there("srv/pki") && is_there("etc/kubernetes/pki/ca.crt") && is_there("etc/sysctl.d/other.conf")
    );
    assert!(
        plan(&root, &choice).contains(&"empty /etc/kubernetes/tmp".to_owned())
            && !plan(&root, &Choice::default()).contains(&"empty /etc/kubernetes/tmp".to_owned())
    );
}
