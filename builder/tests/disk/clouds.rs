//! Outputs for clouds and hypervisors, judged by the programs that read them.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use kiln::digest::Digest;
use kiln::size::MIB;
use serde_json::Value;

use crate::bench::{Bench, have, run, text};

/// A bench with the raw disk and the output `name`, whose file is returned after it was written again,
/// to the same bytes.
fn written(name: &str) -> (Bench, PathBuf) {
    let (one, two) = (Bench::new(), Bench::new());
    one.write("raw");
    let files = one.write(name);
    // In another second: a clock that leaked into the bytes would show.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    assert_eq!(two.write(name), files);
    for file in &files {
        let [a, b] = [&one, &two].map(|bench| Digest::of_file(&bench.path(&format!("out/{file}"))).unwrap());
        assert_eq!(a, b, "{file}");
    }
    let path = one.path(&format!("out/{}", files[0]));
    (one, path)
}

/// Compares an image in the format `format` with the raw disk: its length and all bytes.
fn assert_same_disk(bench: &Bench, format: &str, image: &Path) {
    let raw = bench.path("out/test-node.raw");
    run("qemu-img", &["compare", "-f", "raw", "-F", format, text(&raw), text(image)]);
    let info = run("qemu-img", &["info", "-f", format, text(image)]);
    let length = fs::metadata(&raw).unwrap().len();
    assert!(info.contains(&format!("({length} bytes)")), "{info}");
}

#[test]
fn a_vhd_is_the_raw_disk_and_a_footer_whose_size_counts() {
    if !have("vhd", &["mksquashfs", "mke2fs", "qemu-img"]) {
        return;
    }
    let (bench, vhd) = written("vhd");
    assert_same_disk(&bench, "vpc", &vhd);
    let (raw, bytes) = (fs::read(bench.path("out/test-node.raw")).unwrap(), fs::read(&vhd).unwrap());
    assert_eq!((raw.len() as u64 % MIB, bytes.len()), (0, raw.len() + 512));
    assert!(bytes[..raw.len()] == raw);
}

#[test]
fn bmaptool_writes_the_disk_by_its_block_map_and_finds_what_is_wrong() {
    if !have("block map", &["mksquashfs", "mke2fs", "bmaptool"]) {
        return;
    }
    let mut bench = Bench::new();
    let options = toml::from_str("block-map = true\ncompression = \"zstd\"").unwrap();
    bench.plan.output_options.insert("raw".to_owned(), options);
    let files = bench.write("raw");
    assert_eq!(files[..2], ["test-node.raw.zst", "test-node.raw.bmap"]);
    let [disk, map, target] =
        ["out/test-node.raw.zst", "out/test-node.raw.bmap", "target"].map(|name| bench.path(name));
    // It finds the map beside the image by its name.
    run("bmaptool", &["copy", text(&disk), text(&target)]);
    let plain = bench.path("scratch/disk.raw");
    run("cmp", &[text(&plain), text(&target)]);

    // The last block with data: the backup table.
    let other = bench.path("other");
    fs::copy(&plain, &other).unwrap();
    let file = fs::File::options().write(true).open(&other).unwrap();
    file.write_all_at(b"other", file.metadata().unwrap().len() - 512).unwrap();
    let copy = ["copy", "--bmap", text(&map), text(&other), text(&target)];
    let output = Command::new("bmaptool").args(copy).output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && message.contains("checksum mismatch"), "{message}");
}

#[test]
fn a_vmdk_is_the_raw_disk_in_the_form_that_esxi_imports() {
    if !have("vmdk", &["mksquashfs", "mke2fs", "qemu-img"]) {
        return;
    }
    let (bench, vmdk) = written("vmdk");
    assert_vmdk(&bench, &vmdk);
}

fn assert_vmdk(bench: &Bench, vmdk: &Path) {
    run("qemu-img", &["check", "-f", "vmdk", text(vmdk)]);
    assert_same_disk(bench, "vmdk", vmdk);
    let info = run("qemu-img", &["info", "-f", "vmdk", text(vmdk)]);
    assert!(info.contains("create type: streamOptimized"), "{info}");
    let bytes = fs::read(vmdk).unwrap();
    let descriptor = String::from_utf8_lossy(&bytes[512..1536]);
    assert!(descriptor.contains("ddb.toolsVersion = \"2147483647\"\n"), "{descriptor}");
    assert!(descriptor.contains("SPARSE \"test-node.vmdk\""), "{descriptor}");
}

#[test]
fn an_ova_has_descriptor_manifest_and_disk_in_this_order_and_true_digests() {
    if !have("ova", &["mksquashfs", "mke2fs", "qemu-img", "tar", "sha256sum"]) {
        return;
    }
    let (bench, ova) = written("ova");
    let names = run("tar", &["-tf", text(&ova)]);
    assert_eq!(names, "test-node.ovf\ntest-node.mf\ntest-node.vmdk\n");
    let folder = bench.path("ova");
    fs::create_dir(&folder).unwrap();
    run("tar", &["-xf", text(&ova), "-C", text(&folder)]);
    let manifest = fs::read_to_string(folder.join("test-node.mf")).unwrap();
    // sha256sum reads this form of lines, but for the blank before the parenthesis.
    let sums = manifest.replace("SHA256(", "SHA256 (").replace(")= ", ") = ");
    fs::write(folder.join("sums"), sums).unwrap();
    run("sh", &["-c", "cd \"$1\" && sha256sum --strict -c sums", "sh", text(&folder)]);
    assert_vmdk(&bench, &folder.join("test-node.vmdk"));

    let text = fs::read_to_string(folder.join("test-node.ovf")).unwrap();
    let size = fs::metadata(folder.join("test-node.vmdk")).unwrap().len();
    let capacity = fs::metadata(bench.path("out/test-node.raw")).unwrap().len();
    for part in [
        format!("ovf:href=\"test-node.vmdk\" ovf:id=\"file1\" ovf:size=\"{size}\""),
        format!("ovf:capacity=\"{capacity}\""),
        "<vssd:VirtualSystemType>vmx-15</vssd:VirtualSystemType>".to_owned(),
        "vmw:key=\"firmware\" vmw:value=\"efi\"".to_owned(),
        "ovf:transport=\"com.vmware.guestInfo\"".to_owned(),
    ] {
        assert!(text.contains(&part), "{part} in {text}");
    }
}

#[test]
fn options_of_an_ova_end_up_in_its_descriptor_and_impossible_ones_are_refused() {
    if !have("options of ova", &["mksquashfs", "mke2fs", "tar"]) {
        return;
    }
    let mut bench = Bench::new();
    let set = |bench: &mut Bench, text: &str| {
        bench.plan.output_options.insert("ova".to_owned(), toml::from_str(text).unwrap());
    };
    set(&mut bench, "cpus = 4\nmemory = 8192\nhardware-version = 19\nfirmware = \"bios\"");
    bench.write("ova");
    let ovf = run("tar", &["-xOf", text(&bench.path("out/test-node.ova")), "test-node.ovf"]);
    for part in ["4 virtual CPU(s)", "8192MB of memory", "vmx-19", "vmw:value=\"bios\""] {
        assert!(ovf.contains(part), "{part} in {ovf}");
    }
    for (options, message) in [
        ("cpus = 0", "0 processors"),
        ("cpus = 769", "769 processors"),
        ("memory = 4095", "4095 MiB"),
        ("memory = 0", "0 MiB"),
        ("memory = 4294967292", "4294967292 MiB"),
        ("hardware-version = 10", "hardware version 10 is unknown"),
    ] {
        let table = toml::from_str(options).unwrap();
        let error = kiln::output::find("ova").unwrap().configure(&table).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
}

#[test]
fn compute_engine_gets_disk_raw_of_whole_gib_with_a_table_that_fits_and_the_same_partitions() {
    if !have("gce", &["mksquashfs", "mke2fs", "tar", "sgdisk", "e2fsck"]) {
        return;
    }
    let (bench, archive) = written("gce");
    let listing = run("tar", &["-tvzf", text(&archive)]);
    let columns: Vec<&str> = listing.split_whitespace().collect();
    assert_eq!(
        (columns[2], columns.last(), columns.len()),
        ("1073741824", Some(&"disk.raw"), 6),
        "{listing}"
    );
    run("tar", &["-xzf", text(&archive), "-C", text(&bench.path("scratch"))]);
    let (disk, raw) = (bench.path("scratch/disk.raw"), bench.path("out/test-node.raw"));
    let verdict = run("sgdisk", &["-v", text(&disk)]);
    assert!(verdict.contains("No problems found"), "{verdict}");
    let guids = |disk: &Path| {
        let all = ["1", "2", "3", "4"].map(|number| run("sgdisk", &["-i", number, text(disk)]));
        (all, run("sgdisk", &["-p", text(disk)]).lines().nth(2).map(str::to_owned))
    };
    assert_eq!(guids(&disk), guids(&raw));
    // Everything between the tables is as it was, and there are zeros behind it.
    let (disk, raw) = (fs::read(&disk).unwrap(), fs::read(&raw).unwrap());
    let (first, last) = (MIB as usize, raw.len() - MIB as usize);
    assert!(disk[..446] == raw[..446] && disk[first..last] == raw[first..last]);
    let zeros = vec![0; disk.len() - 33 * 512 - last];
    assert!(disk[last..disk.len() - 33 * 512] == zeros);
}

#[test]
fn the_descriptor_of_an_ova_is_the_one_that_was_checked_with_the_schema() {
    if !have("descriptor of ova", &["mksquashfs", "mke2fs", "tar"]) {
        return;
    }
    let bench = Bench::new();
    bench.write("ova");
    let text = run("tar", &["-xOf", text(&bench.path("out/test-node.ova")), "test-node.ovf"]);
    let size = text.split("ovf:size=\"").nth(1).unwrap().split('"').next().unwrap();
    let capacity = text.split("ovf:capacity=\"").nth(1).unwrap().split('"').next().unwrap();
    let plain = text
        .replace(&format!("ovf:size=\"{size}\""), "ovf:size=\"1000000\"")
        .replace(&format!("ovf:capacity=\"{capacity}\""), "ovf:capacity=\"1073741824\"");
    // This file was checked with DMTF's schema, which is not kept here: after a change, run
    // `xmllint --schema dsp8023_1.1.1.xsd` again.
    assert_eq!(plain, include_str!("test-node.ovf"));
}

#[test]
fn a_vhdx_is_sound_and_equal_to_the_raw_disk() {
    if !have("vhdx", &["mksquashfs", "mke2fs", "qemu-img"]) {
        return;
    }
    let (bench, vhdx) = written("vhdx");
    run("qemu-img", &["check", "-f", "vhdx", text(&vhdx)]);
    assert_same_disk(&bench, "vhdx", &vhdx);
    assert!(vhdx.metadata().unwrap().len() < bench.path("out/test-node.raw").metadata().unwrap().len());
}

#[test]
fn a_compressed_raw_disk_comes_back_by_the_usual_programs() {
    if !have("compressed raw", &["mksquashfs", "mke2fs", "zstd", "gzip"]) {
        return;
    }
    let mut bench = Bench::new();
    bench.write("raw");
    let plain = fs::read(bench.path("out/test-node.raw")).unwrap();
    fs::remove_file(bench.path("out/test-node.raw")).unwrap();
    for (compression, program, extension) in [("zstd", "zstd", "zst"), ("gzip", "gzip", "gz")] {
        let options = toml::Table::from_iter([("compression".to_owned(), compression.into())]);
        bench.plan.output_options.insert("raw".to_owned(), options);
        let file = format!("out/test-node.raw.{extension}");
        let digests = [(); 2].map(|()| {
            assert_eq!(bench.write("raw")[0], file["out/".len()..]);
            Digest::of_file(&bench.path(&file)).unwrap()
        });
        assert_eq!(digests[0], digests[1], "{compression}");
        let path = bench.path(&file);
        assert!(path.metadata().unwrap().len() < plain.len() as u64 / 2);
        run(program, &["-d", "-q", "-k", text(&path)]);
        assert!(fs::read(bench.path("out/test-node.raw")).unwrap() == plain, "{compression}");
        fs::remove_file(bench.path("out/test-node.raw")).unwrap();
    }
}

#[test]
fn a_containerdisk_is_an_image_that_skopeo_reads_with_one_qcow2_of_the_user_qemu() {
    if !have("containerdisk", &["mksquashfs", "mke2fs", "qemu-img", "skopeo", "tar"]) {
        return;
    }
    let (bench, _) = written("containerdisk");
    let layout = bench.path("out/test-node-containerdisk");
    let image = format!("oci:{}:test-node", text(&layout));
    let config: Value = serde_json::from_str(&run("skopeo", &["inspect", "--config", &image])).unwrap();
    assert_eq!((&config["architecture"], &config["os"]), (&"amd64".into(), &"linux".into()));
    let folder = bench.path("copied");
    run("skopeo", &["copy", "-q", &image, &format!("dir:{}", text(&folder))]);
    let manifest = json(&folder.join("manifest.json"));
    assert_eq!(manifest["layers"].as_array().unwrap().len(), 1);
    let blob = folder.join(manifest["layers"][0]["digest"].as_str().unwrap().trim_start_matches("sha256:"));
    let listing = run("tar", &["--numeric-owner", "-tvzf", text(&blob)]);
    let lines: Vec<Vec<&str>> = listing.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!((lines[0][..2].to_vec(), lines[0].last()), (vec!["drwxr-xr-x", "0/0"], Some(&"disk/")));
    assert_eq!(lines[1][..2], ["-r--r-----", "107/107"]);
    assert_eq!((lines[1].last(), lines.len()), (Some(&"disk/test-node.qcow2"), 2));
    let diff_id = run("sh", &["-c", "gzip -dc \"$1\" | sha256sum", "sh", text(&blob)]);
    let named = config["rootfs"]["diff_ids"][0].as_str().unwrap();
    assert_eq!(diff_id.split_whitespace().next(), named.strip_prefix("sha256:"));
    run("tar", &["-xzf", text(&blob), "-C", text(&bench.path("scratch"))]);
    assert_same_disk(&bench, "qcow2", &bench.path("scratch/disk/test-node.qcow2"));
}

#[test]
fn an_artifact_has_both_disks_for_those_who_ask_by_tag_and_by_kind() {
    if !have("artifact", &["mksquashfs", "mke2fs", "qemu-img", "zstd", "skopeo"]) {
        return;
    }
    let (bench, _) = written("oci-artifact");
    let layout = bench.path("out/test-node-oci-artifact");
    let blob = |descriptor: &Value| {
        let digest = descriptor["digest"].as_str().unwrap();
        let path = layout.join("blobs/sha256").join(digest.trim_start_matches("sha256:"));
        assert_eq!(Digest::of_file(&path).unwrap().to_string(), digest);
        assert_eq!(path.metadata().unwrap().len(), descriptor["size"].as_u64().unwrap());
        path
    };
    // As oras pulls: tag, manifest, layer, and the name of the file in the title.
    let tags = json(&layout.join("index.json"));
    let by_tag = |tag: &str| {
        let tags = tags["manifests"].as_array().unwrap();
        let found = tags.iter().find(|one| one["annotations"]["org.opencontainers.image.ref.name"] == tag);
        found.unwrap_or_else(|| panic!("{tag} in {tags:?}")).clone()
    };
    let pull = |manifest: &Value, title: &str| {
        let manifest = json(&blob(manifest));
        let [layer] = manifest["layers"].as_array().unwrap().as_slice() else { panic!("{manifest}") };
        assert_eq!(layer["annotations"]["org.opencontainers.image.title"], title);
        assert_eq!(layer["mediaType"], "application/vnd.oci.image.layer.v1.tar");
        assert_eq!(fs::read(blob(&manifest["config"])).unwrap(), b"{}");
        blob(layer)
    };
    let qcow2 = pull(&by_tag("test-node.qcow2"), "test-node.qcow2");
    assert_same_disk(&bench, "qcow2", &qcow2);
    let raw = pull(&by_tag("test-node.raw.zst"), "test-node.raw.zst");
    let unpacked = bench.path("unpacked.raw");
    run("zstd", &["-d", "-q", text(&raw), "-o", text(&unpacked)]);
    assert_same_disk(&bench, "raw", &unpacked);
    // As Ironic chooses: the index of a tag, architecture and kind.
    let index = json(&blob(&by_tag("test-node")));
    for (kind, file) in [("qcow2", &qcow2), ("raw", &raw)] {
        let mut all = index["manifests"].as_array().unwrap().iter();
        let one = all
            .find(|one| one["annotations"]["disktype"] == kind && one["platform"]["architecture"] == "amd64")
            .unwrap();
        assert_eq!(&pull(one, &format!("test-node.{}", if kind == "raw" { "raw.zst" } else { kind })), file);
    }
    // Tools for images copy it as it is.
    let copy = bench.path("copied");
    let image = format!("oci:{}:test-node.qcow2", text(&layout));
    run("skopeo", &["copy", "-q", &image, &format!("oci:{}:x", text(&copy))]);
    let name = qcow2.file_name().unwrap();
    assert_eq!(
        Digest::of_file(&copy.join("blobs/sha256").join(name)).unwrap(),
        Digest::of_file(&qcow2).unwrap()
    );
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}
