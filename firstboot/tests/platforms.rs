//! Tests of detection on machines that are folders: `tests/platforms/NAME/` is a root with the evidence of
//! such a machine. Its file `expected` holds the expected result: the platform, `none` or `refused`; a part
//! of the evidence; and each platform that also matches, as `not believed: NAME`.
#![allow(clippy::disallowed_methods, reason = "tests make machines and servers")]

use std::collections::BTreeSet;
use std::fs;
use std::net::UdpSocket;
use std::path::Path;
use std::time::{Duration, Instant};

use firstboot::evidence::Evidence;
use firstboot::host::root::Root;
use firstboot::platforms::ALL;
use firstboot::platforms::detect::detect;
use nix::libc;

/// Time limit of a detection. On an idle machine it takes a tenth of that.
const LIMIT: Duration = Duration::from_millis(5);
/// Number of detections; their median counts.
const RUNS: usize = 9;

struct Machine {
    name: String,
    root: Root,
    platform: String,
    seen: String,
    others: Vec<String>,
}

fn machines() -> Vec<Machine> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/platforms");
    let mut names: Vec<String> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let machine = |name: String| {
        let expected = fs::read_to_string(folder.join(&name).join("expected")).unwrap();
        let mut lines = expected.lines().map(str::to_owned);
        let (platform, seen) = (lines.next().unwrap(), lines.next().unwrap_or_default());
        let others = lines.map(|line| line.strip_prefix("not believed: ").unwrap().to_owned()).collect();
        Machine { root: Root::at(folder.join(&name)), name, platform, seen, others }
    };
    names.into_iter().map(machine).collect()
}

/// The result for a machine: the platform, its evidence, and the other platforms that match.
fn found(machine: &Machine) -> (String, String, Vec<String>) {
    match detect(&Evidence::of(&machine.root), None) {
        Err(failure) => ("refused".to_owned(), failure.message, Vec::new()),
        Ok(detection) => {
            let name = detection.platform.map_or("none", |platform| platform.name);
            (
                name.to_owned(),
                detection.seen,
                detection.others.iter().map(|(name, _)| (*name).to_owned()).collect(),
            )
        }
    }
}

/// The median of several detections, each with newly gathered evidence.
fn duration(machine: &Machine) -> Duration {
    let mut all: Vec<Duration> = (0..RUNS)
        .map(|_| {
            let begin = Instant::now();
            let _ = found(machine);
            begin.elapsed()
        })
        .collect();
    all.sort();
    all[RUNS / 2]
}

#[test]
fn every_machine_is_recognised_for_what_it_is() {
    let mut wrong = Vec::new();
    let machines = machines();
    for machine in &machines {
        let (platform, seen, others) = found(machine);
        // An empty text is part of every text.
        let is_seen = if machine.seen.is_empty() { seen.is_empty() } else { seen.contains(&machine.seen) };
        let is_right = platform == machine.platform && is_seen && others == machine.others;
        let rest =
            if others.is_empty() { String::new() } else { format!(" (not believed: {})", others.join(", ")) };
        let shown = seen.replace(&*machine.root.path("").to_string_lossy(), "/");
        println!("{:<40} {:<10} {shown}{rest}", machine.name, platform);
        if !is_right {
            wrong.push(format!(
                "{}: {platform}, {shown:?}, {others:?}; expected {}, {:?}",
                machine.name, machine.platform, machine.seen
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(machines.len() >= 70, "{} machines", machines.len());
    let alike = machines.iter().filter(|machine| machine.platform == "none").count();
    println!("{} machines, {alike} of them on no platform", machines.len());
}

#[test]
fn every_platform_has_a_machine() {
    let found: BTreeSet<String> = machines().into_iter().map(|machine| machine.platform).collect();
    let missing: Vec<&str> =
        ALL.iter().map(|platform| platform.name).filter(|name| !found.contains(*name)).collect();
    assert!(missing.is_empty(), "no machine of tests/platforms is {}", missing.join(", "));
}

#[test]
fn detection_is_quick() {
    let mut all: Vec<(Duration, String)> =
        machines().into_iter().map(|machine| (duration(&machine), machine.name)).collect();
    all.sort();
    let (median, (slowest, name)) = (all[all.len() / 2].0, &all[all.len() - 1]);
    println!("detection: {median:?} in the middle, {slowest:?} for the slowest ({name})");
    assert!(*slowest < LIMIT, "{name} takes {slowest:?}");
}

/// What the kernel does to a thread that opens a socket.
#[derive(Clone, Copy)]
enum Sockets {
    Refused,
    Deadly,
}

/// From now on this thread cannot open a socket, because of a system call filter, seccomp(2).
#[allow(unsafe_code)] // system calls that std and nix do not offer
fn forbid(sockets: Sockets) {
    let action = match sockets {
        Sockets::Refused => libc::SECCOMP_RET_ERRNO | libc::EPERM as u32,
        Sockets::Deadly => libc::SECCOMP_RET_KILL_PROCESS,
    };
    let step = |code: u32, jump: (u8, u8), k: u32| libc::sock_filter {
        code: code as u16,
        jt: jump.0,
        jf: jump.1,
        k,
    };
    // The number of the system call is the first field of the filter's data.
    let mut steps = [
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, (0, 0), 0),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, (0, 1), libc::SYS_socket as u32),
        step(libc::BPF_RET | libc::BPF_K, (0, 0), action),
        step(libc::BPF_RET | libc::BPF_K, (0, 0), libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: steps.len() as u16, filter: steps.as_mut_ptr() };
    // SAFETY: both calls change this thread only; the kernel copies the program, which lives until they
    // return.
    let done = unsafe {
        [
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
            libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program),
        ]
    };
    assert_eq!(done, [0, 0]);
}

/// A detection that opens any socket ends the whole test with SIGSYS.
#[test]
fn detection_opens_no_socket() {
    let control = std::thread::spawn(|| {
        forbid(Sockets::Refused);
        UdpSocket::bind("127.0.0.1:0").map(drop).map_err(|error| error.raw_os_error())
    });
    assert_eq!(
        control.join().unwrap(),
        Err(Some(libc::EPERM)),
        "the filter does not keep this thread from sockets"
    );
    let detections = std::thread::spawn(|| {
        forbid(Sockets::Deadly);
        machines().iter().map(found).count()
    });
    assert!(detections.join().unwrap() >= 70);
}
