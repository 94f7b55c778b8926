//! Builds that are killed, run out of space, or run at the same time: every file under its final name is
//! complete, and a rerun succeeds.

use std::fs;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use kiln_tests::kiln::{self, Build, DEFAULT, succeed};
use kiln_tests::workspace;

/// How often a build is killed.
const KILLS: u32 = 20;

/// The first kills fall within this time after the start of a build with an empty store; later ones within
/// what a build then takes.
const COLD: Duration = Duration::from_secs(40);

/// Room that is too small for the outputs, and for the store: in bytes, as mount(8) takes it.
const SMALL: &str = "48m";

/// The lines of SHA256SUMS if `folder` holds a whole image, none if it holds nothing; anything between is the
/// error.
fn visible(folder: &Path) -> Option<String> {
    let entries: Vec<PathBuf> =
        fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    // Names with a leading dot and the lock are not outputs.
    let is_output = |path: &&PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        !name.starts_with('.') && !name.ends_with(".lock")
    };
    let outputs: Vec<&PathBuf> = entries.iter().filter(is_output).collect();
    if outputs.is_empty() {
        return None;
    }
    let sums = folder.join("SHA256SUMS");
    assert!(sums.is_file(), "outputs are visible without their sums: {outputs:?}");
    succeed(
        Command::new("sha256sum")
            .args(["--check", "--quiet", "--strict", "SHA256SUMS"])
            .current_dir(folder),
    );
    Some(fs::read_to_string(sums).expect("the sums are text"))
}

/// The sums of an undisturbed build.
fn reference() -> String {
    visible(&kiln::image(DEFAULT).folder).expect("the shared image is whole")
}

/// Numbers that look random (a linear congruential generator, Numerical Recipes' constants), from a seed that
/// a failure shows.
struct Moments(u64);

impl Moments {
    fn new() -> Self {
        let seed = std::env::var("KILN_TEST_SEED").ok().and_then(|text| text.parse().ok());
        let seed = seed
            .unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs()));
        workspace::say(&format!("killing at the moments of KILN_TEST_SEED={seed}"));
        Self(seed)
    }

    fn within(&mut self, span: Duration) -> Duration {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        span.mul_f64((self.0 >> 33) as f64 / f64::from(1_u32 << 31))
    }
}

/// Starts the build in a new process group and kills it after `moment`: `kiln` alone, or all its processes.
/// Returns the build's duration if it ended earlier.
fn kill_after(command: &mut Command, moment: Duration, everything: bool) -> Option<Duration> {
    let started = Instant::now();
    let mut child = command
        .process_group(0)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("kiln can be started");
    let group = format!("-{}", child.id());
    while started.elapsed() < moment {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            assert!(status.success(), "the build failed by itself: {status}");
            return Some(started.elapsed());
        }
        thread::sleep(Duration::from_millis(5));
    }
    if everything {
        // It fails only when the group has just ended.
        let _ = Command::new("kill").args(["-9", "--", &group]).output();
    } else {
        child.kill().expect("a child can be killed");
    }
    let status = child.wait().expect("a child can be waited for");
    // Orphaned processes must not disturb the next build, and must not pile up.
    thread::sleep(Duration::from_millis(200));
    let _ = Command::new("kill").args(["-9", "--", &group]).output();
    if status.signal().is_none() { Some(started.elapsed()) } else { None }
}

#[test]
#[ignore = "slow: make test-long runs it"]
fn killed_at_twenty_moments_then_a_rerun_gives_the_same_image() {
    let expected = reference();
    let folder = workspace::scratch();
    let (output, cache) = (folder.path().join("out"), folder.path().join("cache"));
    let build = Build::new(DEFAULT, &output).cache(&cache).lock(&folder.path().join("image.lock"));
    let mut moments = Moments::new();
    let mut span = COLD;
    let mut kills = 0;
    while kills < KILLS {
        let moment = moments.within(span);
        match kill_after(&mut build.command(), moment, kills % 2 == 1) {
            None => kills += 1,
            // The store is warm by now. Kills within the time of a warm build, and builds the outputs again.
            Some(took) => span = span.min(took),
        }
        if let Some(sums) = visible(&output) {
            assert_eq!(sums, expected, "after kill {kills} at {moment:?} another image is visible");
            fs::remove_dir_all(&output).expect("the output folder is the test's");
        }
    }
    build.run();
    assert_eq!(visible(&output).as_deref(), Some(expected.as_str()), "the rerun gave another image");
}

#[test]
fn two_builds_at_once_share_one_empty_store() {
    let expected = reference();
    let folder = workspace::scratch();
    let cache = folder.path().join("cache");
    let outputs = [folder.path().join("one"), folder.path().join("two")];
    thread::scope(|scope| {
        for output in &outputs {
            let cache = &cache;
            scope.spawn(move || Build::new(DEFAULT, output).cache(cache).run());
        }
    });
    for output in &outputs {
        assert_eq!(visible(output).as_deref(), Some(expected.as_str()), "{}", output.display());
    }
}

/// Runs `build` with a small tmpfs mounted over `full`, in a separate mount namespace. Returns its output and
/// the files in `full` at the end.
fn build_with_little_room(build: &Build, full: &Path) -> (String, String) {
    fs::create_dir_all(full).expect("the folder is the test's");
    let mut command = Command::new("unshare");
    command.args(if workspace::is_root() { ["-m", "--"] } else { ["-Urm", "--"] });
    let script = format!(
        "mount -t tmpfs -o size={SMALL} none \"$0\" || exit 99; cd \"$0\"; \"$@\" && exit 98; echo; echo FILES; find . -type f"
    );
    command
        .args(["sh", "-c", &script])
        .arg(full)
        .arg(kiln::programs().join("kiln"))
        .args(build.arguments());
    let output = command.stdin(Stdio::null()).output().expect("unshare can be started");
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.success(),
        "the build did not fail, or the small file system could not be mounted ({}): {errors}",
        output.status
    );
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let files = printed.split("FILES\n").nth(1).unwrap_or_default().to_owned();
    (errors, files)
}

fn assert_says_no_room(errors: &str) {
    assert!(
        errors.to_lowercase().contains("no space left"),
        "the message does not say that there is no room:\n{errors}"
    );
}

#[test]
fn a_full_disk_for_the_outputs_leaves_none_of_them() {
    let expected = reference();
    let folder = workspace::scratch();
    let full = folder.path().join("full");
    let lock = folder.path().join("image.lock");
    let (errors, files) = build_with_little_room(&Build::new(DEFAULT, &full.join("out")).lock(&lock), &full);
    assert_says_no_room(&errors);
    let left: Vec<&str> =
        files.lines().filter(|file| file.starts_with("./out/") && !file.contains("/.")).collect();
    assert!(left.is_empty(), "a failed build left outputs: {left:?}");
    let output = folder.path().join("out");
    Build::new(DEFAULT, &output).lock(&lock).run();
    assert_eq!(visible(&output).as_deref(), Some(expected.as_str()), "the rerun gave another image");
}

#[test]
fn a_full_disk_for_the_store_says_so() {
    let folder = workspace::scratch();
    let full = folder.path().join("full");
    let output = folder.path().join("out");
    let build = Build::new(DEFAULT, &output)
        .cache(&full.join("cache"))
        .lock(&folder.path().join("image.lock"));
    let (errors, _) = build_with_little_room(&build, &full);
    assert_says_no_room(&errors);
    assert!(visible(&output).is_none(), "a failed build left outputs");
}
