//! The extensions of the output `sysext` on a host that is no image of Kiln: a plain Debian 13 with systemd
//! and without Kubernetes, which is the base of the same build.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use kiln_tests::join_support::{assert_joined, control_plane, join_configuration, ready_node, verdict};
use kiln_tests::kiln::{self, Image};
use kiln_tests::lab::lab;
use kiln_tests::qemu::Machine;
use kiln_tests::workspace;
use serde_json::Value;
use testkit::{folder, not_run};

/// The folder of the scripts.
fn script(name: &str) -> PathBuf {
    workspace::root().join("tests/extensions").join(name)
}

/// Unpacks the base of `image` into the new folder `root`.
fn unpack_base(image: &Image, root: &Path) {
    let layout = image.file("-oci");
    let blob = |digest: &str| layout.join("blobs").join(digest.replace(':', "/"));
    let read = |path: &Path| -> Value {
        serde_json::from_slice(&fs::read(path).expect("the layout is complete")).expect("it is JSON")
    };
    let digest = |value: &Value| value["digest"].as_str().expect("descriptors have digests").to_owned();
    let manifest = read(&blob(&digest(&read(&layout.join("index.json"))["manifests"][0])));
    let base = blob(&digest(&manifest["layers"][0]));
    fs::create_dir(root).expect("the folder is the test's");
    workspace::output("tar", ["-xzf".as_ref(), base.as_os_str(), "-C".as_ref(), root.as_os_str()]);
}

/// The lines of each section that the script tells.
fn sections(text: &str) -> BTreeMap<&str, Vec<&str>> {
    let mut sections: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut name = "";
    for line in text.lines() {
        match line.strip_prefix("== ") {
            Some(title) => name = title,
            None => sections.entry(name).or_default().push(line),
        }
    }
    sections
}

fn hindrance() -> Option<&'static str> {
    if !workspace::is_root() {
        return Some("only root mounts");
    }
    (!Path::new("/dev/loop-control").exists()).then_some("no loop devices here")
}

#[test]
fn systemd_merges_the_extensions_and_their_programs_run() {
    if let Some(why) = hindrance() {
        return not_run("extensions are merged", why);
    }
    let (image, folder) = (kiln::extensions(), workspace::scratch());
    let root = folder.path().join("root");
    unpack_base(&image, &root);
    let merge = script("merge");
    let words = ["--mount".as_ref(), merge.as_os_str(), root.as_os_str()];
    let set = image.file("-sysext");
    let text =
        workspace::output("unshare", words.into_iter().chain([set.as_os_str(), folder.path().as_os_str()]));
    let sections = sections(&text);
    let files = &sections["files"];
    for file in [
        "/usr/bin/firstboot",
        "/usr/bin/kubelet",
        "/usr/lib/kiln/image.json",
        "/usr/lib/systemd/system/extension-kubelet.service",
        "/usr/lib/systemd/system/kubelet.service",
        "/usr/lib/systemd/system/multi-user.target.d/10-containerd.conf",
        "/usr/local/bin/containerd",
        "/usr/local/sbin/runc",
        "/usr/share/factory/etc/containerd/config.toml",
        "/usr/share/factory/opt/cni/bin/bridge",
    ] {
        assert!(files.contains(&file), "{file} is not merged: {files:#?}");
    }
    // The layer node is about an image's own system.
    assert!(!files.iter().any(|file| file.contains("opt.mount")), "{files:#?}");
    assert!(!sections.contains_key("lost"), "the host lost files: {:#?}", sections["lost"]);
    let versions = sections["versions"].join("\n");
    for part in
        [&format!("Kubernetes v{}", lab().versions["kubernetes"]), "containerd", "runc version", "firstboot"]
    {
        assert!(versions.contains(part), "{part} in {versions}");
    }
    let host = sections["host"].join("\n");
    assert!(host.contains("CNI") && host.contains("/etc/containerd/certs.d"), "{host}");
    assert!(!sections.contains_key("verify"), "systemd finds fault with units: {:#?}", sections["verify"]);
}

/// A plain Debian 13 with all of systemd's programs for extensions.
struct Host<'a>(&'a Path);

impl Host<'_> {
    fn run(&self, command: &str) -> Output {
        let mut unshare = std::process::Command::new("unshare");
        unshare.arg("--mount").arg(script("inside")).arg(self.0).args(command.split(' '));
        unshare.output().expect("util-linux has unshare")
    }

    fn succeed(&self, command: &str) -> String {
        let Output { status, stdout, stderr } = self.run(command);
        let [said, failed] = [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        assert!(status.success(), "{command}: {said}{failed}");
        said
    }

    /// Asks for the newest version of an extension: whether there is one now that was not there, and what is
    /// said.
    fn update(&self, name: &str) -> (bool, String) {
        let output = self.run(&format!("/usr/lib/systemd/systemd-sysupdate -C {name} update"));
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// The file that systemd merges as the extension `name`.
    fn merged(&self, name: &str) -> PathBuf {
        let link = self.0.join(format!("etc/extensions/{name}.raw"));
        let target = fs::read_link(&link).expect("an update makes a link");
        assert!(target.is_relative(), "{}", target.display());
        link.canonicalize().expect("the link leads to the file")
    }
}

/// Adds a file to the server's folder and to its list, as a later build does.
fn publish(set: &Path, name: &str, content: &[u8]) {
    fs::write(set.join(name), content).expect("the folder is the test's");
    workspace::output("sh", ["-c", &format!("cd '{}' && sha256sum '{name}' >> SHA256SUMS", set.display())]);
}

#[test]
#[ignore = "slow: make test-long runs it"]
fn systemd_checks_signed_extensions_and_updates_them_by_their_own_files() {
    if let Some(why) = hindrance() {
        return not_run("systemd reads signed extensions", why);
    }
    let scratch = workspace::scratch();
    let [root, key, certificate] = ["root", "key.pem", "cert.pem"].map(|name| scratch.path().join(name));
    let name = ["-newkey", "rsa:2048", "-nodes", "-days", "3650", "-subj", "/CN=test"];
    let files = ["-keyout".as_ref(), key.as_os_str(), "-out".as_ref(), certificate.as_os_str()];
    workspace::output("openssl", ["req", "-x509"].iter().chain(&name).map(AsRef::as_ref).chain(files));
    let plain = kiln::extensions();
    unpack_base(&plain, &root);
    workspace::output(&script("add").display().to_string(), [root.as_os_str(), "systemd-container".as_ref()]);
    let host = Host(&root);

    let server = folder::serve(scratch.path());
    let url = server.url("/signed/join-sysext/");
    let set = kiln::signed_extensions(scratch.path(), &key, &certificate, &url).file("-sysext");
    let kubernetes = &lab().versions["kubernetes"];
    let file = |version: &str| format!("kubelet-{version}-x86-64.raw");

    // What systemd reads of them. It checks the signature only when it merges, with the kernel's
    // device-mapper: here it sees that there is one, and what a host's policy says to that.
    let policy =
        "systemd-dissect --validate --image-policy=root=signed+absent:usr=signed+absent /tmp/kubelet.raw";
    for (set, is_signed) in [(&plain.file("-sysext"), false), (&set, true)] {
        fs::copy(set.join(file(kubernetes)), root.join("tmp/kubelet.raw")).expect("the set has the kubelet");
        let told = host.succeed("systemd-dissect /tmp/kubelet.raw");
        assert!(told.contains("✓ sysext for system") && told.contains("ID=_any"), "{told}");
        assert_eq!(told.contains(" signed "), is_signed, "{told}");
        host.succeed("systemd-dissect --validate /tmp/kubelet.raw");
        assert_eq!(host.run(policy).status.success(), is_signed);
    }

    // A host takes the files as they are, asks the server, and keeps to its minor version. The folder of
    // links must be there, as docs/extensions.md says: systemd-sysupdate does not make it.
    fs::create_dir_all(root.join("etc/extensions")).expect("the root is the test's");
    for name in ["kubelet", "containerd"] {
        let folder = format!("sysupdate.{name}.d");
        workspace::output("cp", ["-r".into(), set.join(&folder), root.join("etc").join(folder)]);
        let (is_new, said) = host.update(name);
        assert!(is_new, "{name}: {said}");
    }
    let first = fs::read(set.join(file(kubernetes))).expect("the set has the kubelet");
    assert!(fs::read(host.merged("kubelet")).is_ok_and(|bytes| bytes == first));
    assert!(host.merged("containerd").starts_with(root.join("opt/extensions/containerd")));

    let series = kubernetes.rsplit_once('.').expect("a version has a patch level").0;
    let (next, next_minor) = (format!("{series}.999"), format!("1.{}.0", lab().kubernetes_minor() + 1));
    publish(&set, &file(&next), &[b'n'; 4096]);
    publish(&set, &file(&next_minor), &[b'm'; 4096]);
    let (is_new, said) = host.update("kubelet");
    assert!(is_new, "{said}");
    assert!(host.merged("kubelet").ends_with(file(&next)), "{}", host.merged("kubelet").display());

    // A file that is not what the list says changes nothing.
    let broken = file(&format!("{series}.1000"));
    publish(&set, &broken, &[b'r'; 4096]);
    fs::write(set.join(&broken), [b'w'; 4096]).expect("the folder is the test's");
    let (is_new, said) = host.update("kubelet");
    assert!(!is_new, "{said}");
    assert!(host.merged("kubelet").ends_with(file(&next)), "{}", host.merged("kubelet").display());
}

/// `/usr` alone is brought: everything else is the host's, made by systemd-tmpfiles at boot.
#[test]
#[ignore = "slow: make test-long runs it"]
fn a_plain_debian_with_extensions_joins_and_is_ready() {
    if let Some(why) = hindrance() {
        return not_run("a host with extensions joins", why);
    }
    let Some(control_plane) = control_plane("a host with extensions joins") else { return };
    let _alone = workspace::exclusive("join-e2e");
    let (image, folder) = (kiln::extensions(), workspace::scratch());
    let root = folder.path().join("root");
    unpack_base(&image, &root);
    let [ramdisk, config] = ["host.cpio.zst", "config.yaml"].map(|name| folder.path().join(name));
    let tool = script("ramdisk");
    let set = image.file("-sysext");
    workspace::output(&tool.display().to_string(), [&root, &set, &ramdisk]);
    fs::write(&config, join_configuration(control_plane, "  name: extended-node\n"))
        .expect("the folder is the test's");
    let kernel = fs::read_dir(root.join("boot"))
        .expect("the base has a kernel")
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz-")))
        .expect("the base has a kernel");
    let line = "console=ttyS0 systemd.firstboot=off systemd.gpt_auto=0 loglevel=4";
    Machine::new("join-extensions")
        .memory(4096)
        .uuid("4c4c4544-0042-3510-8052-b4c04f4e3207")
        .in_network_of(control_plane.fact("pid"))
        .kernel(&kernel, &ramdisk, line)
        .fw_cfg("opt/org.kiln.firstboot/config", &config)
        .boot(|vm| {
            let verdict = verdict(vm)?;
            assert_joined(&verdict, "joined", "extended-node");
            let warnings = verdict["warnings"].to_string();
            assert!(!warnings.contains("Service-Kubelet"), "its extension starts the kubelet: {warnings}");
            ready_node(control_plane, "extended-node", "");
            workspace::say(&format!("{:.0} s after power-on: Ready", vm.age().as_secs_f64()));
            vm.press_power_button();
            vm.wait_exit(Duration::from_secs(120))
        });
}
