//! The faults, one row each, and their expected outcomes.

use std::time::Duration;

use kiln_tests::control_plane::TokenSpec;
use kiln_tests::fault_proxy::Action;
use kiln_tests::netns::NetworkNamespace;

use testkit::Door;

use super::environment::*;
use super::token_from;

/// How a case must end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Ends {
    Joined,
    /// With this class and exit code.
    Failed(&'static str, i32),
}

pub struct Case {
    /// Also the name of the node.
    pub name: &'static str,
    pub ends: Ends,
    /// Seconds that it may take.
    pub seconds: f64,
    pub work: fn(&Lab, &'static str) -> Seen,
}

const JOINED: Ends = Ends::Joined;
const UNREACHABLE: Ends = Ends::Failed("unreachable", 11);
const UNTRUSTED: Ends = Ends::Failed("untrusted", 12);
const CREDENTIAL: Ends = Ends::Failed("credential", 13);
const REFUSED: Ends = Ends::Failed("refused", 14);
const PENDING: Ends = Ends::Failed("pending", 15);
const CLOCK: Ends = Ends::Failed("clock", 16);
const HOST: Ends = Ends::Failed("host", 17);
const RUNTIME: Ends = Ends::Failed("runtime", 18);
const PREFLIGHT: Ends = Ends::Failed("preflight", 2);

/// Discovery is given 5 seconds, a call 5, the certificate 8 (see `attempt`); what is on top is for a busy
/// machine.
pub const CASES: &[Case] = &[
    Case { name: "nothing", ends: JOINED, seconds: 5.0, work: |lab, name| plain(lab, name, |_| {}) },
    Case {
        name: "api-down",
        ends: UNREACHABLE,
        seconds: 8.0,
        work: |lab, name| on(lab, name, NetworkNamespace::of_api_server()),
    },
    Case {
        name: "api-in-a-black-hole",
        ends: UNREACHABLE,
        seconds: 9.0,
        work: |lab, name| on(lab, name, NetworkNamespace::black_hole()),
    },
    Case {
        name: "no-route",
        ends: UNREACHABLE,
        seconds: 8.0,
        work: |lab, name| on(lab, name, NetworkNamespace::new()),
    },
    Case {
        name: "api-takes-and-is-silent",
        ends: UNREACHABLE,
        seconds: 9.0,
        work: |lab, name| door(lab, name, Door::Silent),
    },
    Case {
        name: "api-resets",
        ends: UNREACHABLE,
        seconds: 8.0,
        work: |lab, name| door(lab, name, Door::Reset),
    },
    Case {
        name: "api-slow",
        ends: JOINED,
        seconds: 12.0,
        work: |lab, name| {
            through_proxy(lab, name, |request, _| {
                if request.contains("signingrequests") { Action::Pass } else { Action::Trickle(500) }
            })
        },
    },
    Case {
        name: "429-once-each",
        ends: JOINED,
        seconds: 20.0,
        work: |lab, name| {
            let mut seen = through_proxy(lab, name, |_, before| {
                if before > 0 {
                    Action::Pass
                } else {
                    Action::Answer("429 Too Many Requests", "Retry-After: 1\r\n", "")
                }
            });
            // Five kinds of requests are each put off for a second.
            seen.demand(seen.run.seconds >= 4.0, "Retry-After was not obeyed");
            seen
        },
    },
    Case {
        name: "500-once-each",
        ends: JOINED,
        seconds: 12.0,
        work: |lab, name| {
            through_proxy(lab, name, |_, before| if before > 0 { Action::Pass } else { broken() })
        },
    },
    Case {
        name: "500-for-ever",
        ends: UNREACHABLE,
        seconds: 8.0,
        work: |lab, name| through_proxy(lab, name, |_, _| broken()),
    },
    Case {
        name: "500-for-ever-from-kubeadm-config",
        ends: UNREACHABLE,
        seconds: 9.0,
        work: |lab, name| {
            through_proxy(lab, name, |request, _| if request == CONFIG { broken() } else { Action::Pass })
        },
    },
    Case {
        name: "500-for-ever-to-certificate-requests",
        ends: UNREACHABLE,
        seconds: 12.0,
        work: |lab, name| {
            through_proxy(lab, name, |request, _| if request == REQUESTS { broken() } else { Action::Pass })
        },
    },
    Case {
        name: "half-a-body-once-each",
        ends: JOINED,
        seconds: 12.0,
        work: |lab, name| {
            through_proxy(lab, name, |request, before| {
                if before > 0 || request == REQUESTS || request == WATCH {
                    Action::Pass
                } else {
                    Action::Half
                }
            })
        },
    },
    Case { name: "watch-silent-once", ends: JOINED, seconds: 25.0, work: watch_silent },
    Case {
        name: "half-a-body-for-ever",
        ends: UNREACHABLE,
        seconds: 8.0,
        work: |lab, name| {
            through_proxy(lab, name, |request, _| if request == INFO { Action::Half } else { Action::Pass })
        },
    },
    Case {
        name: "reset-once-each",
        ends: JOINED,
        seconds: 12.0,
        work: |lab, name| {
            through_proxy(lab, name, |_, before| if before > 0 { Action::Pass } else { Action::Reset })
        },
    },
    Case { name: "answer-to-certificate-request-lost", ends: JOINED, seconds: 12.0, work: answer_lost },
    Case {
        name: "no-json",
        ends: UNREACHABLE,
        seconds: 8.0,
        work: |lab, name| {
            through_proxy(lab, name, |_, _| {
                Action::Answer("502 Bad Gateway", "", "<html>a load balancer without servers</html>")
            })
        },
    },
    Case { name: "wrong-ca", ends: UNTRUSTED, seconds: 5.0, work: wrong_ca },
    Case {
        name: "wrong-pin",
        ends: UNTRUSTED,
        seconds: 5.0,
        work: |lab, name| {
            plain(lab, name, |config| config.pin = format!("sha256:{}", "0123456789abcdef".repeat(4)))
        },
    },
    Case {
        name: "bad-jws",
        ends: UNTRUSTED,
        seconds: 5.0,
        work: |lab, name| {
            through_proxy(lab, name, |request, _| match request {
                INFO => {
                    Action::Replace("https://10.99.0.1:6443".to_owned(), "https://10.99.0.9:6443".to_owned())
                }
                _ => Action::Pass,
            })
        },
    },
    Case {
        name: "token-expired",
        ends: CREDENTIAL,
        seconds: 20.0,
        work: |lab, name| with_token(lab, name, TokenSpec { expires: Some(-60), ..TokenSpec::default() }),
    },
    Case {
        name: "token-without-signing",
        ends: CREDENTIAL,
        seconds: 20.0,
        work: |lab, name| with_token(lab, name, TokenSpec { signing: false, ..TokenSpec::default() }),
    },
    Case {
        name: "token-from",
        ends: JOINED,
        seconds: 6.0,
        work: |lab, name| token_from::asked(lab, name, token_from::gives, 1),
    },
    Case {
        name: "token-from-late",
        ends: JOINED,
        seconds: 12.0,
        work: |lab, name| token_from::asked(lab, name, token_from::gives_late, 3),
    },
    Case {
        name: "token-from-denied",
        ends: CREDENTIAL,
        seconds: 5.0,
        work: |lab, name| token_from::asked(lab, name, token_from::denies, 1),
    },
    Case {
        name: "token-from-nonsense",
        ends: CREDENTIAL,
        seconds: 5.0,
        work: |lab, name| token_from::asked(lab, name, token_from::gives_nonsense, 1),
    },
    Case { name: "token-from-a-stranger", ends: UNTRUSTED, seconds: 5.0, work: token_from::stranger },
    Case {
        name: "token-without-authentication",
        ends: CREDENTIAL,
        seconds: 5.0,
        work: |lab, name| with_token(lab, name, TokenSpec { authentication: false, ..TokenSpec::default() }),
    },
    Case {
        name: "token-unknown",
        ends: CREDENTIAL,
        seconds: 20.0,
        work: |lab, name| plain(lab, name, |config| config.token = "zzzzzz.0123456789abcdef".to_owned()),
    },
    Case { name: "token-of-powerless-group", ends: CREDENTIAL, seconds: 5.0, work: powerless },
    Case {
        name: "certificate-denied",
        ends: REFUSED,
        seconds: 8.0,
        work: |lab, name| judged(lab, name, Some("Denied"), Duration::ZERO, 20),
    },
    Case {
        name: "certificate-approved-late",
        ends: JOINED,
        seconds: 16.0,
        work: |lab, name| judged(lab, name, Some("Approved"), Duration::from_secs(8), 60),
    },
    Case {
        name: "certificate-never-approved",
        ends: PENDING,
        seconds: 9.0,
        work: |lab, name| judged(lab, name, None, Duration::ZERO, 5),
    },
    Case {
        name: "name-of-a-ready-node",
        ends: REFUSED,
        seconds: 5.0,
        work: |lab, name| name_taken(lab, name, true),
    },
    Case {
        name: "name-of-a-node-that-is-not-ready",
        ends: JOINED,
        seconds: 5.0,
        work: |lab, name| name_taken(lab, name, false),
    },
    Case {
        name: "clock-a-day-fast",
        ends: CLOCK,
        seconds: 5.0,
        work: |lab, name| clock(lab, name, -30..-1, -3),
    },
    Case {
        name: "clock-a-day-slow",
        ends: CLOCK,
        seconds: 5.0,
        work: |lab, name| clock(lab, name, 2..365, 3),
    },
    Case {
        name: "clock-a-day-fast-by-the-date-alone",
        ends: CLOCK,
        seconds: 5.0,
        work: |lab, name| clock(lab, name, NOW, -1),
    },
    Case {
        name: "clock-a-day-slow-by-the-date-alone",
        ends: CLOCK,
        seconds: 5.0,
        work: |lab, name| clock(lab, name, NOW, 1),
    },
    Case {
        name: "server-certificate-expired",
        ends: UNTRUSTED,
        seconds: 5.0,
        work: |lab, name| clock(lab, name, -30..-1, 0),
    },
    Case {
        name: "dns-dead-and-not-needed",
        ends: JOINED,
        seconds: 5.0,
        work: |lab, name| dns(lab, name, API),
    },
    Case {
        name: "dns-dead-and-needed",
        ends: UNREACHABLE,
        seconds: 12.0,
        work: |lab, name| dns(lab, name, "api.lab.test:6443"),
    },
    Case { name: "containerd-late", ends: JOINED, seconds: 12.0, work: containerd_late },
    Case {
        name: "containerd-absent",
        ends: RUNTIME,
        seconds: 12.0,
        work: |lab, name| containerd(lab, name, false),
    },
    Case {
        name: "containerd-silent",
        ends: RUNTIME,
        seconds: 12.0,
        work: |lab, name| containerd(lab, name, true),
    },
    Case {
        name: "disk-nearly-full",
        ends: PREFLIGHT,
        seconds: 5.0,
        work: |lab, name| mounted(lab, name, "mount -t tmpfs -o size=1M tmpfs $ROOT/var", "[]"),
    },
    Case { name: "disk-full", ends: HOST, seconds: 8.0, work: disk_full },
    Case {
        name: "etc-read-only",
        ends: PREFLIGHT,
        seconds: 5.0,
        work: |lab, name| {
            mounted(lab, name, "mount --bind $ROOT/etc $ROOT/etc && mount -o remount,ro,bind $ROOT/etc", "[]")
        },
    },
    Case {
        name: "etc-read-only-and-unchecked",
        ends: HOST,
        seconds: 8.0,
        work: |lab, name| {
            mounted(
                lab,
                name,
                "mount --bind $ROOT/etc $ROOT/etc && mount -o remount,ro,bind $ROOT/etc",
                "[WritableFolders]",
            )
        },
    },
];

fn broken() -> Action {
    Action::Answer(
        "500 Internal Server Error",
        "",
        "{\"kind\":\"Status\",\"message\":\"etcdserver: request timed out\"}",
    )
}
