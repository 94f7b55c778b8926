use super::*;

#[test]
fn a_closed_parent_or_a_full_disk_will_not_do() {
    let folder = TempDir::new().unwrap();
    let inner = folder.path().join("inner");
    fs::create_dir(&inner).unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o700)).unwrap();
    assert!(usable(&inner, 1).unwrap_err().contains("cannot enter"));
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    assert_eq!(usable(&inner, 1), Ok(()));
    assert!(usable(&inner, u64::MAX).unwrap_err().contains("MB free"));
    assert!(usable(&folder.path().join("absent"), 1).is_err());
}

#[test]
fn sweeps_only_what_the_dead_have_left() {
    let folder = TempDir::new().unwrap();
    let alive = make(folder.path(), None).unwrap();
    let unlocked = |name: &str, lock: bool| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.join("below")).unwrap();
        if lock {
            fs::write(path.join(LOCK), "").unwrap();
        }
        path
    };
    let [dead, other, starting] =
        [("kiln-base-dead", true), ("other", true), ("kiln-base-new", false)].map(|(a, b)| unlocked(a, b));
    sweep(folder.path());
    assert!(!dead.exists() && other.exists() && starting.exists() && alive.path().exists());
    let path = alive.path().to_owned();
    drop(alive);
    assert!(!path.exists());
}

#[test]
fn a_process_that_outlives_the_build_keeps_the_folder() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("kiln-base-orphaned");
    fs::create_dir(&path).unwrap();
    let lock = File::create(path.join(LOCK)).unwrap();
    lock.lock().unwrap();
    let mut heir = lend(&lock, || tool("sleep").arg("100").start("coreutils")).unwrap();
    drop(lock);
    sweep(folder.path());
    assert!(path.exists());
    heir.kill().unwrap();
    heir.wait().unwrap();
    // A program that another test has started in the same moment may have inherited the lock as well.
    for _ in 0..500 {
        sweep(folder.path());
        if !path.exists() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("nobody holds it, and it is still there");
}

#[test]
fn nothing_is_removed_in_which_something_is_mounted() {
    let mounts = b"22 1 0:21 / / rw - ext4 /dev/vda rw\n43 22 0:22 / /dev/shm/kiln-base-a/root/dev/shm rw - tmpfs tmpfs rw\n\
                   44 22 0:22 / /srv/a\\040b rw - tmpfs tmpfs rw\n";
    for inside in ["/", "/dev/shm/kiln-base-a", "/dev/shm/kiln-base-a/root/dev/shm", "/srv/a b"] {
        assert!(mounted_below(mounts, Path::new(inside)), "{inside}");
    }
    for outside in
        ["/dev/shm/kiln-base", "/dev/shm/kiln-base-b", "/srv/a", "/dev/shm/kiln-base-a/root/dev/shm/x"]
    {
        assert!(!mounted_below(mounts, Path::new(outside)), "{outside}");
    }
}

/// The accident itself: a folder outside is mounted into a workspace that nobody holds. Needs the right to
/// mount.
#[test]
fn a_mounted_folder_survives_the_sweep() {
    let folder = TempDir::new().unwrap();
    let [outside, left] = ["outside", "kiln-base-dead"].map(|name| folder.path().join(name));
    let inside = left.join("dev/shm");
    fs::create_dir_all(&outside).unwrap();
    fs::create_dir_all(&inside).unwrap();
    fs::write(outside.join("precious"), "").unwrap();
    fs::write(left.join(LOCK), "").unwrap();
    if let Err(error) = tool("mount").arg("--bind").args([&outside, &inside]).run("mount") {
        return testkit::not_run("a_mounted_folder_survives_the_sweep", error.message());
    }
    sweep(folder.path());
    let survived = outside.join("precious").exists() && inside.join("precious").exists();
    tool("umount").arg(&inside).run("mount").unwrap();
    assert!(survived);
    sweep(folder.path());
    assert!(outside.join("precious").exists() && !left.exists());
}

#[test]
fn reads_the_available_memory() {
    assert_eq!(available_memory("MemTotal: 9 kB\nMemAvailable:   2048 kB\n"), 2 << 20);
    assert_eq!(available_memory(""), 0);
}
