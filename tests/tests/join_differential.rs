//! Compares the same join by the real kubeadm and by firstboot, each on a separate machine beside the same
//! API server: every file (content, mode, owner), the kubelet's command line, the objects in the API, every
//! refusal with its reason. The table below lists the allowed differences with their reasons.

use std::path::Path;
use std::sync::{Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use kiln_tests::control_plane::{self, ControlPlane};
use kiln_tests::join_case::{self, Case};
use kiln_tests::join_compare::{Difference, compare, firstboot_verdict, kubeadm_verdict};
use kiln_tests::join_outcome::{self, Known, Outcome};
use kiln_tests::{join_cache, kiln, workspace};
use testkit::not_run;

/// Joins at a time: much of a kubeadm's time is waiting.
const AT_A_TIME: usize = 4;

/// kubeadm 1.20 gives a kubelet that does not start two minutes.
const PATIENCE: Duration = Duration::from_secs(180);

/// A difference that may be: case and place by their beginnings (`*` is all), and why.
struct Allowed {
    case: &'static str,
    place: &'static str,
    reason: &'static str,
}

const ALLOWED: &[Allowed] = &[
    Allowed {
        case: "*",
        place: "file /var/lib/kubelet/pki/kubelet-client-<time>.pem content",
        reason: "the key is PKCS#8 where the kubelet writes SEC 1; it reads both",
    },
    Allowed {
        case: "*",
        place: "signing request generateName",
        reason: "the request has a name of its own, by which a second run finds it again",
    },
    Allowed {
        case: "*",
        place: "signing request spec usages",
        reason: "servers before 1.25 approve the three usages alone, newer ones both; the kubelet of today leaves key encipherment out",
    },
    Allowed {
        case: "empty-documents",
        place: "verdict",
        reason: "an empty document says nothing: why refuse it",
    },
    Allowed {
        case: "cgroup-driver-of-the-runtime",
        place: "file /var/lib/kubelet/config.yaml",
        reason: "where nobody names the cgroup driver, kubeadm 1.20 leaves it to the kubelet's own default, with which pods of this runtime do not start",
    },
    Allowed {
        case: "hostname-override",
        place: "verdict",
        reason: "kubeadm 1.20 waits two minutes for a Node of the machine's name, while the kubelet has registered the other",
    },
    Allowed {
        case: "pins-wrong-first",
        place: "verdict",
        reason: "kubeadm before 1.22 looks at the first pin alone",
    },
    Allowed {
        case: "refused-cri-socket-dead",
        place: "verdict",
        reason: "a runtime that does not answer has an exit code of its own",
    },
    Allowed {
        case: "refused-kubelet-flag",
        place: "file /",
        reason: "firstboot has its certificate before the kubelet starts; of kubeadm's joins the kubelet would have fetched it",
    },
    Allowed {
        case: "refused-taint-effect",
        place: "*",
        reason: "kubeadm waits for a kubelet that refuses the taint at its start; here the config is refused before the join",
    },
    Allowed {
        case: "cri-socket-without-scheme",
        place: "*",
        reason: "the kubelet of 1.20 takes a socket with and without unix://, every later one with it alone",
    },
    Allowed { case: "v1beta1", place: "verdict", reason: "v1beta1 went with kubeadm 1.22" },
    Allowed {
        case: "kubelet-document",
        place: "file /var/lib/kubelet/config.yaml",
        reason: "kubeadm ignores a KubeletConfiguration beside the JoinConfiguration; here it configures the kubelet",
    },
    Allowed {
        case: "refused-cri-socket-relative",
        place: "verdict",
        reason: "kubeadm of today makes unix://run/containerd.sock of it and finds nobody there; here the path is what is wrong",
    },
    Allowed {
        case: "refused-no-forwarding",
        place: "*",
        reason: "kubeadm tells people to set the parameter; firstboot sets it, and joins",
    },
    Allowed {
        case: "refused-node-ready",
        place: "file /etc/kubernetes",
        reason: "kubeadm has written the CA by then; here nothing is written before the name is free",
    },
];

/// Refusals of which kubeadm says only that its time was up: the case has the reason that firstboot must
/// give.
const OUT_OF_TIME: &str = "out of time";

/// One case by both.
struct Pair {
    case: Case,
    kubeadm: Outcome,
    firstboot: Option<Outcome>,
}

#[test]
fn joins_of_1_20_2_are_those_of_kubeadm() {
    differential("1.20.2");
}

#[test]
fn joins_of_1_36_2_are_those_of_kubeadm() {
    differential("1.36.2");
}

fn differential(version: &str) {
    let test = format!("joins like kubeadm {version}'s");
    if let Some(why) = control_plane::hindrance(version) {
        return not_run(&test, &why);
    }
    let _alone = workspace::exclusive("control-plane");
    let started = Instant::now();
    let pairs = observe_all(version);
    let mut wrong: Vec<String> = pairs.iter().filter_map(unexpected).collect();
    wrong.extend(pairs.iter().filter_map(leaks));
    wrong.extend(report(version, &pairs));
    workspace::say(&format!("{test}: {} cases in {:.0} s", pairs.len(), started.elapsed().as_secs_f64()));
    if pairs.iter().all(|pair| pair.firstboot.is_none()) {
        not_run(&test, "this firstboot does not join yet; kubeadm alone was watched");
    }
    assert!(wrong.is_empty(), "{} differences without a reason:\n{}", wrong.len(), wrong.join("\n"));
}

fn observe_all(version: &str) -> Vec<Pair> {
    let minor = version
        .split('.')
        .nth(1)
        .and_then(|minor| minor.parse().ok())
        .expect("a version has a minor");
    let only = std::env::var("KILN_TEST_CASES").unwrap_or_default();
    let cases: Vec<Case> =
        join_case::all(minor).into_iter().filter(|case| case.name.contains(&only)).collect();
    let control_plane = ControlPlane::start(version);
    let known = join_outcome::prepare(&control_plane);
    let queue = Mutex::new(cases.into_iter());
    let done = Mutex::new(Vec::new());
    let work = || {
        loop {
            let Some(case) = queue.lock().expect("no worker panics with it").next() else { break };
            let pair = observe(&control_plane, &known, case);
            done.lock().expect("no worker panics with it").push(pair);
        }
    };
    thread::scope(|scope| (0..AT_A_TIME).for_each(|_| drop(scope.spawn(work))));
    let mut pairs = done.into_inner().expect("no worker panics with it");
    pairs.sort_by(|left: &Pair, right: &Pair| left.case.name.cmp(&right.case.name));
    pairs
}

fn observe(control_plane: &ControlPlane, known: &Known, case: Case) -> Pair {
    let run = |folders: &[&Path], program: &str| {
        join_outcome::observe(
            control_plane,
            known,
            &case,
            folders,
            &[program, "join", "--config", "/case/join.yaml"],
            PATIENCE,
        )
    };
    let kubeadm = join_cache::kept(
        &control_plane.programs(),
        &case,
        || run(&[], "kubeadm"),
        |outcome| fits(&case, outcome),
    );
    let firstboot = firstboot_joins().then(|| run(&[kiln::programs()], "firstboot"));
    Pair { case, kubeadm, firstboot }
}

/// Whether this firstboot has the verb.
fn firstboot_joins() -> bool {
    static JOINS: OnceLock<bool> = OnceLock::new();
    *JOINS.get_or_init(|| {
        let output = std::process::Command::new(kiln::programs().join("firstboot"))
            .args(["join", "--config", "/nonexistent"])
            .output();
        !String::from_utf8_lossy(&output.expect("firstboot starts").stderr).contains("not wired")
    })
}

/// Whether kubeadm did what the case says. Of some refusals it says only that its time was up.
fn fits(case: &Case, outcome: &Outcome) -> bool {
    let verdict = kubeadm_verdict(outcome);
    verdict == case.expect || (verdict == OUT_OF_TIME && !case.accepted())
}

/// kubeadm did not do what the case says: the lab is broken, or the case.
fn unexpected(pair: &Pair) -> Option<String> {
    let verdict = kubeadm_verdict(&pair.kubeadm);
    let said = || pair.kubeadm.ended.stderr.lines().rev().take(4).collect::<Vec<_>>().join(" | ");
    (!fits(&pair.case, &pair.kubeadm))
        .then(|| format!("{}: kubeadm: {verdict}, expected {}: {}", pair.case.name, pair.case.expect, said()))
}

/// Prints the table; returns the differences that it does not allow.
fn report(version: &str, pairs: &[Pair]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut used = vec![0_usize; ALLOWED.len()];
    let mut lines = vec![format!("kubeadm {version} and firstboot, {} cases:", pairs.len())];
    for pair in pairs {
        let Some(firstboot) = &pair.firstboot else { continue };
        let verdict = firstboot_verdict(firstboot);
        let seconds = (pair.kubeadm.ended.seconds, firstboot.ended.seconds);
        lines.push(format!(
            "  {:45} {verdict:12} kubeadm {:5.1} s, firstboot {:5.1} s",
            pair.case.name, seconds.0, seconds.1
        ));
        for difference in compare(&pair.kubeadm, firstboot)
            .into_iter()
            .filter(|difference| !reason_given(&pair.case, difference))
        {
            let text = shown(&pair.case, &difference);
            match ALLOWED.iter().position(|allowed| allows(allowed, &pair.case, &difference)) {
                Some(row) => {
                    used[row] += 1;
                    lines.push(format!("      {text} ({})", ALLOWED[row].reason));
                }
                None if difference.place == "verdict" => {
                    wrong.push(format!("{text}; firstboot's words: {}", firstboot.ended.stderr.trim()))
                }
                None => wrong.push(text),
            }
        }
    }
    lines.push(requests(pairs));
    lines.extend(pairs.iter().filter(|pair| pair.case.name == "minimal").flat_map(requests_of));
    lines.push("  differences allowed, and how often they were seen:".to_owned());
    lines.extend(ALLOWED.iter().zip(used).map(|(allowed, count)| {
        format!("  {count:4}  {} {}: {}", allowed.case, allowed.place, allowed.reason)
    }));
    workspace::say(&lines.join("\n"));
    wrong
}

/// Where kubeadm gives no reason, the case's own counts.
fn reason_given(case: &Case, difference: &Difference) -> bool {
    difference.place == "verdict"
        && difference.kubeadm.as_deref() == Some(OUT_OF_TIME)
        && difference.firstboot.as_ref() == Some(&case.expect)
}

/// Tokens that firstboot leaves on the disk or says aloud.
fn leaks(pair: &Pair) -> Option<String> {
    let firstboot = pair.firstboot.as_ref()?;
    let said = format!("{}{}", firstboot.ended.stdout, firstboot.ended.stderr);
    if said.contains("<token") && !said.contains("-id>") || said.contains("<token-secret>") {
        return Some(format!("{}: firstboot says a token: {said}", pair.case.name));
    }
    (!firstboot.secrets_left.is_empty())
        .then(|| format!("{}: firstboot leaves a token in {:?}", pair.case.name, firstboot.secrets_left))
}

/// How many requests a join took until the kubelet had its certificate, in the middle of all that both
/// accepted: the program's own and the kubelet's with the bootstrap token.
fn requests(pairs: &[Pair]) -> String {
    let own = |outcome: &Outcome| {
        outcome
            .requests
            .iter()
            .filter(|request| request.agent != "kubelet" || request.user.starts_with("system:bootstrap:"))
            .count()
    };
    let both: Vec<(usize, usize)> = pairs
        .iter()
        .filter_map(|pair| Some((&pair.kubeadm, pair.firstboot.as_ref()?)))
        .filter(|(kubeadm, firstboot)| kubeadm.ended.code == 0 && firstboot.ended.code == 0)
        .map(|(kubeadm, firstboot)| (own(kubeadm), own(firstboot)))
        .collect();
    let middle = |mut numbers: Vec<usize>| {
        numbers.sort_unstable();
        numbers.get(numbers.len() / 2).copied().unwrap_or_default()
    };
    let (kubeadm, firstboot) = both.into_iter().unzip();
    format!("  requests of a join (median): kubeadm {}, firstboot {}", middle(kubeadm), middle(firstboot))
}

/// firstboot's requests in one join, one per line.
fn requests_of(pair: &Pair) -> Vec<String> {
    let own = pair
        .firstboot
        .iter()
        .flat_map(|outcome| &outcome.requests)
        .filter(|request| request.agent != "kubelet");
    own.map(|request| format!("    {} {} {} {}", request.user, request.verb, request.uri, request.code))
        .collect()
}

fn allows(allowed: &Allowed, case: &Case, difference: &Difference) -> bool {
    let begins = |text: &str, pattern: &str| pattern == "*" || text.starts_with(pattern);
    begins(&case.name, allowed.case) && begins(&difference.place, allowed.place)
}

fn shown(case: &Case, difference: &Difference) -> String {
    let side = |value: &Option<String>| {
        value.as_deref().map_or_else(|| "nothing".to_owned(), |text| format!("{text:?}"))
    };
    format!(
        "{}: {}: kubeadm {}, firstboot {}",
        case.name,
        difference.place,
        side(&difference.kubeadm),
        side(&difference.firstboot)
    )
}
