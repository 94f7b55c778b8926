use super::*;
use crate::evidence::CommandLine;
use crate::host::files;
use crate::install::NodeConfig;

/// A machine with these disks: name, size in bytes, and bytes at their start.
fn machine(disks: &[(&str, u64, &[u8])]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let root = Root::at(folder.path());
    for (name, size, start) in disks {
        let write = |path: String, bytes: &[u8]| files::write(&root.path(path), bytes, 0o644).unwrap();
        write(format!("/sys/block/{name}/size"), (size / 512).to_string().as_bytes());
        write(format!("/sys/block/{name}/queue/logical_block_size"), b"512\n");
        write(format!("/sys/block/{name}/serial"), format!("SN{name}\n").as_bytes());
        let mut bytes = start.to_vec();
        bytes.resize(*size as usize, 0);
        write(format!("/dev/{name}"), &bytes);
    }
    folder
}

fn choose(folder: &Path, rule: &str, may_overwrite: bool, holder: Option<&str>) -> Result<Candidate> {
    let (root, line) = (Root::at(folder), CommandLine::default());
    let installer =
        Installer { root: &root, line: &line, config: NodeConfig::Absent, say: |_| (), event: None };
    let mut asked = format!("firstboot.install=https://h/n.raw \"firstboot.install-disk={rule}\"");
    if may_overwrite {
        asked += " firstboot.install-overwrite";
    }
    let request = Request::of_command_line(&CommandLine::parse(&asked)).unwrap().unwrap();
    installer.choose(&request, holder)
}

const SIZE: u64 = 4 << 20;

#[test]
fn a_disk_with_data_needs_leave() {
    let folder = machine(&[("vda", SIZE, b"LUKS\xba\xbe"), ("vdb", SIZE, b"")]);
    let failure = choose(folder.path(), "serial=SNvda", false, None).unwrap_err();
    assert_eq!(failure.kind, ErrorKind::Preflight);
    assert!(failure.message.starts_with("the disk holds data: /dev/vda: "), "{failure}");
    assert!(failure.message.ends_with("data (LUKS)") && failure.help.unwrap().contains("--overwrite"));
    let path = |chosen: Candidate| chosen.disk.path.display().to_string();
    assert_eq!(choose(folder.path(), "serial=SNvda", true, None).map(path), Ok("/dev/vda".to_owned()));
    assert_eq!(choose(folder.path(), "serial=SNvdb", false, None).map(path), Ok("/dev/vdb".to_owned()));
}

#[test]
fn a_refusal_lists_every_disk_with_its_reason() {
    let folder =
        machine(&[("vda", SIZE, b"x"), ("vdb", SIZE, b""), ("vdc", SIZE, b""), ("loop0", SIZE, b"")]);
    let root = Root::at(folder.path());
    files::write(&root.path("/sys/block/vda/ro"), b"1\n", 0o644).unwrap();
    files::write(&root.path("/sys/block/vdb/holders/dm-0/x"), b"", 0o644).unwrap();
    files::write(&root.path("/sys/block/vdc/vdc1/partition"), b"1", 0o644).unwrap();
    let failure = choose(folder.path(), "bus=virtio", false, Some("vdc1")).unwrap_err();
    assert_eq!(
        failure.message,
        "no disk is left to install on\n\
         /dev/vda: 4.2 MB, virtio, serial SNvda, id virtio-SNvda, data (unknown): left out: it is read-only\n\
         /dev/vdb: 4.2 MB, virtio, serial SNvdb, id virtio-SNvdb, no data: left out: it is a part of dm-0\n\
         /dev/vdc: 4.2 MB, virtio, serial SNvdc, id virtio-SNvdc, no data: left out: it has the image"
    );
    let folder = machine(&[("vda", SIZE, b""), ("vdb", SIZE, b"")]);
    let failure = choose(folder.path(), "bus=virtio", false, None).unwrap_err();
    assert!(failure.message.starts_with("2 disks are left, and exactly one must be\n"), "{failure}");
    let failure = choose(machine(&[]).path(), "smallest", false, None).unwrap_err();
    assert!(failure.message.starts_with("this machine has no disk"), "{failure}");
}

#[test]
fn a_file_may_stand_for_a_disk() {
    let folder = machine(&[("vda", SIZE, b"")]);
    files::write(&folder.path().join("disk.img"), &vec![0; SIZE as usize], 0o600).unwrap();
    let chosen = choose(folder.path(), "path=/disk.img", false, None).unwrap();
    assert!(chosen.is_file);
    let failure = choose(folder.path(), "path=/disk.img,size>=9T", false, None).unwrap_err();
    assert!(failure.message.contains("no other condition"), "{failure}");
    assert_eq!((chosen.disk.path.display().to_string().as_str(), chosen.disk.size), ("/disk.img", SIZE));
}
