//! Outputs for clouds and hypervisors, judged by the programs that read them.

use std::fs;
use std::path::{Path, PathBuf};

use kiln::digest::Digest;
use kiln::size::MIB;

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
        ("memory = 4095", "4095 MiB"),
        ("hardware-version = 10", "hardware version 10 is too old"),
    ] {
        set(&mut bench, options);
        let error = bench.output_error("ova");
        assert!(error.message().contains(message) && error.hint().is_some(), "{error}");
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
