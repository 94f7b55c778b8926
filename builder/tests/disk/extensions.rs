//! System extensions, judged by squashfs-tools, erofs-utils and their digests.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use kiln::definition::plan::LayerPlan;
use kiln::error::ErrorKind;
use kiln::layer::pack;
use kiln::output;
use kiln::store::Key;
use kiln::tree::{Body, Entry, Tree};

use super::bench::{Bench, EPOCH, have, noise, run, text};

/// The name of the final layer.
const FINAL: &str = "image";

fn file(content: &[u8], mode: u32) -> Entry {
    Entry::file(Body::inline(content), mode)
}

impl Bench {
    /// Packs `entries` as the layer `name`, in the plan too unless it is the final layer.
    fn add_layer(&mut self, name: &str, entries: Vec<(&str, Entry)>, enable: &[&str]) {
        let entries: BTreeMap<String, Entry> =
            entries.into_iter().map(|(path, entry)| (path.to_owned(), entry)).collect();
        let key = Key::new("layer", 0, &(name, self.layers.len()), &[]).unwrap();
        self.layers.push(pack::pack(self.store(), name, key, &Tree { entries }, EPOCH).unwrap());
        if ![FINAL, "trixie"].contains(&name) {
            self.plan.layers.push(LayerPlan {
                name: name.to_owned(),
                summary: String::new(),
                artifacts: Vec::new(),
                files: Vec::new(),
                directories: Vec::new(),
                links: Vec::new(),
                enable: enable.iter().map(|unit| (*unit).to_owned()).collect(),
                mask: Vec::new(),
                replaces: Vec::new(),
                windows: None,
                packages: Vec::new(),
                extension: true,
            });
        }
    }

    /// An image with the layers that a node has, in small.
    fn node() -> Self {
        let mut bench = Self::new();
        bench.plan.variables.insert("kubernetes".to_owned(), "1.36.4".to_owned());
        bench.add_layer("trixie", vec![("usr/bin/base", file(b"base", 0o755))], &[]);
        bench.add_layer("node", vec![("usr/lib/systemd/system/opt.mount", file(b"", 0o644))], &["opt.mount"]);
        bench.plan.layers[0].extension = false;
        let kubelet = noise(3 << 20, 7);
        bench.add_layer(
            "kubelet",
            vec![
                ("usr/bin/kubelet", file(&kubelet, 0o755)),
                (
                    "usr/lib/systemd/system/kubelet.service",
                    file(b"[Service]\nExecStart=/usr/bin/kubelet\n", 0o644),
                ),
                ("etc/kubernetes/manifests", Entry::directory(0o755)),
                ("opt/cni/bin/bridge", file(b"plugin", 0o755)),
            ],
            &["kubelet.service"],
        );
        bench.add_layer("firstboot", vec![("usr/bin/firstboot", file(b"agent", 0o755))], &[]);
        bench.add_layer(
            FINAL,
            vec![
                ("etc/systemd/system/multi-user.target.wants/kubelet.service", Entry::symlink("/x")),
                ("usr/lib/kiln/image.json", file(b"{}", 0o644)),
                ("usr/lib/kiln/policy.json", file(b"{}", 0o644)),
                ("usr/lib/kiln/preload/index.json", file(b"tar", 0o644)),
            ],
            &[],
        );
        bench
    }

    fn options(&mut self, options: &str) {
        self.plan.output_options.insert("sysext".to_owned(), toml::from_str(options).unwrap());
    }

    fn sysext_error(&self) -> kiln::error::Error {
        let writer = output::configured("sysext", self.plan.output_options.get("sysext")).unwrap();
        self.with(|parts| writer.write(parts, &self.path("out")).map(drop).unwrap_err())
    }
}

/// Files and links of a squashfs, without its folders.
fn list(path: &Path) -> Vec<String> {
    run("unsquashfs", &["-lls", "-d", "", text(path)])
        .lines()
        .filter(|line| line.starts_with(['-', 'l']))
        .filter_map(|line| Some(line[line.find(" /")? + 1..].to_owned()))
        .collect()
}

#[test]
fn each_layer_is_an_extension_of_its_own() {
    if !have("system extensions", &["mksquashfs", "unsquashfs"]) {
        return;
    }
    let bench = Bench::node();
    let files = bench.write("sysext");
    assert_eq!(
        files,
        [
            "test-node-sysext/kubelet-1.36.4-x86-64.raw",
            "test-node-sysext/firstboot-1.36.4-x86-64.raw",
            "test-node-sysext/test-node-1.36.4-x86-64.raw",
            "test-node-sysext/SHA256SUMS",
        ]
    );
    let out = bench.path("out/test-node-sysext");
    assert_eq!(
        list(&out.join("kubelet-1.36.4-x86-64.raw")),
        [
            "/usr/bin/kubelet",
            "/usr/lib/extension-release.d/extension-release.kubelet",
            "/usr/lib/systemd/system/extension-kubelet.service",
            "/usr/lib/systemd/system/kubelet.service",
            "/usr/lib/systemd/system/multi-user.target.d/10-kubelet.conf",
            "/usr/lib/tmpfiles.d/kubelet-extension.conf",
            "/usr/share/factory/opt/cni/bin/bridge",
        ]
    );
    assert_eq!(
        list(&out.join("firstboot-1.36.4-x86-64.raw")),
        [
            "/usr/bin/firstboot",
            "/usr/lib/extension-release.d/extension-release.firstboot",
            "/usr/lib/kiln/image.json",
            "/usr/lib/kiln/policy.json",
        ],
        "the agent must not come without its trust policy"
    );
    assert_eq!(
        list(&out.join("test-node-1.36.4-x86-64.raw")),
        ["/usr/lib/extension-release.d/extension-release.test-node", "/usr/lib/kiln/preload/index.json"]
    );
    let sums = fs::read_to_string(out.join("SHA256SUMS")).unwrap();
    assert!(sums.lines().count() == 3 && !sums.contains('/'), "{sums}");
    run("sh", &["-c", &format!("cd {} && sha256sum -c SHA256SUMS", text(&out))]);
}

#[test]
fn one_extension_holds_all_layers_if_asked() {
    if !have("one system extension", &["mksquashfs", "unsquashfs"]) {
        return;
    }
    let mut bench = Bench::node();
    bench.options("combined = true\nid = 'ubuntu'\nversion-id = '22.04'");
    assert_eq!(bench.write("sysext")[0], "test-node-sysext/test-node-1.36.4-x86-64.raw");
    let path = bench.path("out/test-node-sysext/test-node-1.36.4-x86-64.raw");
    let files = list(&path);
    for path in ["/usr/bin/kubelet", "/usr/bin/firstboot", "/usr/lib/kiln/preload/index.json"] {
        assert!(files.iter().any(|file| file == path), "{path} in {files:?}");
    }
    let release = "usr/lib/extension-release.d/extension-release.test-node";
    let text = run("unsquashfs", &["-cat", text(&path), release]);
    assert_eq!(text, "ID=ubuntu\nVERSION_ID=22.04\nARCHITECTURE=x86-64\nEXTENSION_RELOAD_MANAGER=1\n");
}

#[test]
fn extensions_are_the_same_bytes_each_time() {
    if !have("extensions twice", &["mksquashfs", "mkfs.erofs"]) {
        return;
    }
    for file_system in ["squashfs", "erofs"] {
        let sums = || {
            let mut bench = Bench::node();
            bench.options(&format!("file-system = '{file_system}'"));
            bench.write("sysext");
            fs::read_to_string(bench.path("out/test-node-sysext/SHA256SUMS")).unwrap()
        };
        assert_eq!(sums(), sums(), "{file_system}");
    }
}

#[test]
fn erofs_holds_what_the_layer_has() {
    if !have("extensions as erofs", &["mkfs.erofs", "fsck.erofs", "dump.erofs"]) {
        return;
    }
    let mut bench = Bench::node();
    bench.options("file-system = 'erofs'");
    bench.write("sysext");
    let image = bench.path("out/test-node-sysext/kubelet-1.36.4-x86-64.raw");
    run("fsck.erofs", &[text(&image)]);
    let out = bench.path("extracted");
    run("fsck.erofs", &[&format!("--extract={}", text(&out)), text(&image)]);
    assert!(fs::read(out.join("usr/bin/kubelet")).unwrap() == noise(3 << 20, 7));
    let about = run("dump.erofs", &["--path=/usr/bin/kubelet", text(&image)]);
    assert!(about.contains("Uid: 0") && about.contains("0755/rwxr-xr-x"), "{about}");
}

#[test]
fn what_an_extension_cannot_carry_is_refused_by_name() {
    if !have("refused extensions", &["mksquashfs"]) {
        return;
    }
    let owned = Entry { uid: 7, ..file(b"x", 0o644) };
    let rows: [(&str, Entry, &[&str], &str, &str); 5] = [
        ("boot/vmlinuz", file(b"x", 0o644), &[], "", "/boot/vmlinuz"),
        ("etc/run-me", file(b"x", 0o755), &[], "", "/etc/run-me"),
        ("usr/bin/kubelet", file(b"y", 0o755), &[], "", "kubelet and extra both have /usr/bin/kubelet"),
        ("usr/bin/x", file(b"x", 0o755), &["iscsid.socket"], "", "iscsid.socket"),
        ("usr/bin/x", owned, &[], "file-system = 'erofs'", "the owner 7:0"),
    ];
    for (path, entry, enable, options, message) in rows {
        let mut bench = Bench::node();
        let last = bench.layers.pop().unwrap();
        bench.add_layer("extra", vec![(path, entry)], enable);
        bench.layers.push(last);
        bench.options(options);
        let error = bench.sysext_error();
        assert_eq!(error.kind(), ErrorKind::Definition, "{error}");
        assert!(error.message().contains(message) && error.hint().is_some(), "{message}: {error}");
    }
}

/// Makes an RSA key and its certificate in `folder`.
fn make_key(folder: &Path) -> (String, String) {
    let [key, certificate] = ["key.pem", "cert.pem"].map(|name| text(&folder.join(name)).to_owned());
    run(
        "openssl",
        &[
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "3650",
            "-subj",
            "/CN=test",
            "-keyout",
            &key,
            "-out",
            &certificate,
        ],
    );
    (key, certificate)
}

/// The bytes of partition `number` of a disk image, as a file.
fn partition(bench: &Bench, disk: &Path, number: u32) -> PathBuf {
    let about = run("sgdisk", &["-i", &number.to_string(), text(disk)]);
    let sector = |key: &str| {
        let line = about.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        line.split_whitespace().next().unwrap().parse::<usize>().unwrap()
    };
    let bytes = fs::read(disk).unwrap();
    let path = bench.path(&format!("partition-{number}"));
    let range = sector("First sector: ") * 512..(sector("Last sector: ") + 1) * 512;
    fs::write(&path, &bytes[range]).unwrap();
    path
}

#[test]
fn a_signed_extension_proves_each_of_its_bytes() {
    if !have("signed extensions", &["mksquashfs", "veritysetup", "openssl", "sgdisk"]) {
        return;
    }
    let mut bench = Bench::node();
    let (key, certificate) = make_key(&bench.path("."));
    bench.options(&format!("verity = true\nsign-key = '{key}'\nsign-certificate = '{certificate}'"));
    bench.write("sysext");
    let disk = bench.path("out/test-node-sysext/kubelet-1.36.4-x86-64.raw");
    assert!(run("sgdisk", &["-v", text(&disk)]).contains("No problems found"));

    let signature = fs::read(partition(&bench, &disk, 3)).unwrap();
    let end = signature.iter().position(|byte| *byte == 0).unwrap();
    assert!(signature[end..].iter().all(|byte| *byte == 0));
    let document: serde_json::Value = serde_json::from_slice(&signature[..end]).unwrap();
    let root = document["rootHash"].as_str().unwrap();

    let [data, hashes] = [1, 2].map(|number| partition(&bench, &disk, number));
    run("veritysetup", &["verify", text(&data), text(&hashes), root]);
    let ids: String = [1, 2]
        .map(|number: u32| {
            let about = run("sgdisk", &["-i", &number.to_string(), text(&disk)]);
            let id = about
                .lines()
                .find_map(|line| line.strip_prefix("Partition unique GUID: "))
                .unwrap()
                .to_owned();
            id.replace('-', "").to_lowercase()
        })
        .concat();
    assert_eq!(ids, root, "the identifiers of the partitions are the halves of the root hash");

    let pem =
        format!("-----BEGIN PKCS7-----\n{}\n-----END PKCS7-----\n", document["signature"].as_str().unwrap());
    let [signed, content] = ["signature.pem", "content"].map(|name| bench.path(name));
    fs::write(&signed, pem).unwrap();
    let verify = |text_: &str| {
        fs::write(&content, text_).unwrap();
        let mut command = std::process::Command::new("openssl");
        command.args(["smime", "-verify", "-binary", "-inform", "PEM", "-noverify", "-nointern", "-in"]);
        command.arg(&signed).arg("-content").arg(&content).arg("-certfile").arg(&certificate);
        command.output().unwrap().status.success()
    };
    assert!(verify(root) && !verify(&root.replace(&root[..1], "x")));
}

#[test]
fn sealed_extensions_are_the_same_bytes_each_time() {
    if !have("sealed extensions twice", &["mksquashfs", "veritysetup", "openssl"]) {
        return;
    }
    let keys = tempfile::tempdir().unwrap();
    let (key, certificate) = make_key(keys.path());
    let build = |signed: bool| {
        let mut bench = Bench::node();
        let signature = format!("sign-key = '{key}'\nsign-certificate = '{certificate}'");
        bench.options(&format!("verity = true\n{}", if signed { &signature } else { "" }));
        bench.write("sysext");
        fs::read_to_string(bench.path("out/test-node-sysext/SHA256SUMS")).unwrap()
    };
    assert_eq!(build(false), build(false));
    assert_eq!(build(true), build(true));
    assert_ne!(build(false), build(true));
}

#[test]
fn a_host_finds_newer_extensions_by_the_files_for_sysupdate() {
    if !have("files for sysupdate", &["mksquashfs"]) {
        return;
    }
    let mut bench = Bench::node();
    bench.options("url = 'https://hub.example/node'");
    let files = bench.write("sysext");
    for name in ["kubelet", "firstboot", "test-node"] {
        let file = format!("test-node-sysext/sysupdate.{name}.d/{name}.conf");
        assert!(files.contains(&file), "{files:?}");
        let text = fs::read_to_string(bench.path("out").join(file)).unwrap();
        assert!(text.contains(&format!("\nMatchPattern={name}-1.36.@v-%a.raw\n")), "{text}");
    }
}

#[test]
fn a_key_that_is_missing_or_of_another_certificate_is_named() {
    if !have("wrong keys", &["mksquashfs", "veritysetup", "openssl"]) {
        return;
    }
    let keys = tempfile::tempdir().unwrap();
    let other = keys.path().join("other");
    fs::create_dir(&other).unwrap();
    let ((key, _), (_, certificate)) = (make_key(keys.path()), make_key(&other));
    for (key, message) in [(key.as_str(), "openssl smime"), ("/no/such/key", "the key /no/such/key")] {
        let mut bench = Bench::node();
        bench.options(&format!("verity = true\nsign-key = '{key}'\nsign-certificate = '{certificate}'"));
        let error = bench.sysext_error();
        assert!(error.hint().is_some() && error.message().contains(message), "{error}");
    }
}
