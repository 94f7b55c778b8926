//! Every fault does what it says, on the wire.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::thread::sleep;
use std::time::{Duration, Instant};

use kiln_simulator::fault::{Needs, SCRIPTS, TRAP};
use kiln_simulator::{Running, Simulation};

mod support;
use support::{Reply, ask};

const PATH: &str = "/metadata/v1.json";

fn run(faults: &[&str]) -> Running {
    let simulation = Simulation::of("digitalocean").user_data("x");
    let simulation = faults
        .iter()
        .fold(simulation, |simulation, fault| simulation.fault(fault.parse().unwrap()));
    simulation.serve((Ipv4Addr::LOCALHOST, 0).into()).unwrap()
}

fn get(running: &Running) -> std::io::Result<Reply> {
    ask(running.addresses()[0], "GET", PATH, &[])
}

fn body(running: &Running) -> Vec<u8> {
    get(running).unwrap().body
}

#[test]
fn statuses_pass_after_their_number() {
    for (fault, status, retry_after, count) in [
        ("not-found-then-ok", 404, None, 3),
        ("not-found=1", 404, None, 1),
        ("throttled", 429, Some("1"), 2),
        ("throttled=1", 429, Some("1"), 1),
        ("overloaded", 503, Some("1"), 2),
        ("server-error", 500, None, 3),
        ("unauthorized=1", 401, None, 1),
        ("wrong-instance=2", 403, None, 2),
    ] {
        let running = run(&[fault]);
        for _ in 0..count {
            let reply = get(&running).unwrap();
            assert_eq!((reply.status, reply.header("retry-after")), (status, retry_after), "{fault}");
        }
        assert_eq!(get(&running).unwrap().status, 200, "{fault}");
        assert_eq!(
            running.journal().entries().iter().filter(|entry| entry.fault.is_some()).count(),
            count,
            "{fault}"
        );
    }
}

#[test]
fn what_lasts_lasts() {
    for (fault, status) in [
        ("broken", 500),
        ("not-found", 404),
        ("throttled=always", 429),
        ("redirect", 302),
        ("wrong-instance", 403),
    ] {
        let running = run(&[fault]);
        for _ in 0..5 {
            assert_eq!(get(&running).unwrap().status, status, "{fault}");
        }
    }
}

#[test]
fn faults_of_a_path_leave_others_alone_and_several_follow_each_other() {
    let running = run(&["throttled=1@/metadata/v1.json", "server-error=1"]);
    let of = |path| ask(running.addresses()[0], "GET", path, &[]).unwrap().status;
    assert_eq!([of("/metadata/v1/region"), of(PATH), of(PATH)], [500, 429, 200]);
    let running = run(&["broken@*/region"]);
    let of = |path| ask(running.addresses()[0], "GET", path, &[]).unwrap().status;
    assert_eq!([of("/metadata/v1/region"), of("/metadata/v1/id")], [500, 200]);
}

#[test]
fn a_late_service_refuses_first() {
    let running = run(&["late=1"]);
    assert_eq!(get(&running).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    let until = Instant::now() + Duration::from_secs(5);
    while get(&running).is_err() {
        assert!(Instant::now() < until);
        std::thread::sleep(Duration::from_millis(50));
    }
    let began = Instant::now();
    assert_eq!(get(&run(&["refused"])).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    assert!(began.elapsed() < Duration::from_secs(1));
}

#[test]
fn connections_are_spoilt() {
    assert!(matches!(get(&run(&["stall"])).unwrap_err().kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut));
    assert_eq!(get(&run(&["reset"])).unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert!(get(&run(&["not-http"])).unwrap_err().to_string().contains("no head"));
    let whole = body(&run(&["none"]));
    let reply = get(&run(&["truncated"])).unwrap();
    assert_eq!(
        (reply.header("content-length"), reply.body.len()),
        (Some((whole.len() + 100).to_string().as_str()), whole.len())
    );
    assert!(body(&run(&["huge"])).len() >= 8 << 20, "as much as the client takes");
    assert_eq!(get(&run(&["hostile-length"])).unwrap().header("content-length").unwrap().len(), 23);
}

#[test]
fn speed_is_spoilt() {
    let whole = body(&run(&["none"]));
    let began = Instant::now();
    assert_eq!(body(&run(&["slow"])), whole);
    assert!(began.elapsed() > Duration::from_millis(50));
    let running = run(&["drip"]);
    let journal = std::thread::spawn(move || get(&running).map(|reply| reply.body.len()));
    std::thread::sleep(Duration::from_secs(3));
    assert!(!journal.is_finished(), "a byte a second takes long");
}

#[test]
fn contents_are_spoilt() {
    let get = |fault: &str| get(&run(&[fault])).unwrap();
    assert!(get("wrong-type").header("content-type").unwrap().starts_with("text/html"));
    assert_eq!(get("empty").body, b"");
    assert!(get("hostile-text").text().contains("\\u001b[2J"));
    assert!(std::str::from_utf8(&get("hostile-bytes").body).is_err());
    assert!(get("hostile-nesting").body.starts_with(&[b'['; 50_000]));
    assert!(get("hostile-headers").head.lines().count() > 10_000);
    let chunked = get("chunked");
    assert!(chunked.header("content-length").is_none() && chunked.body.ends_with(b"\r\n0\r\n\r\n"));
    assert!(get("old").head.starts_with("HTTP/1.0 200"));
}

#[test]
fn a_client_that_follows_a_redirect_is_seen() {
    let running = run(&["redirect"]);
    let reply = get(&running).unwrap();
    assert!(reply.status == 302 && reply.header("location") == Some(TRAP) && !running.was_trapped());
    ask(running.addresses()[0], "GET", TRAP, &[]).unwrap();
    assert!(running.was_trapped());
}

#[test]
fn a_token_expires_once() {
    let running = Simulation::of("ec2")
        .user_data("x")
        .fault("token-expired".parse().unwrap())
        .serve(local())
        .unwrap();
    let address = running.addresses()[0];
    let token = || {
        ask(address, "PUT", "/latest/api/token", &[("X-aws-ec2-metadata-token-ttl-seconds", "60")])
            .unwrap()
            .text()
    };
    let get = |token: &str| {
        ask(address, "GET", "/latest/user-data", &[("X-aws-ec2-metadata-token", token)])
            .unwrap()
            .status
    };
    let first = token();
    assert_eq!([get(&first), get(&first)], [401, 401]);
    let second = token();
    assert_eq!([get(&second), get(&second)], [200, 200]);
}

#[test]
fn a_connection_serves_several_requests() {
    use std::io::{Read, Write};
    let running = run(&["none"]);
    let mut stream = std::net::TcpStream::connect(running.addresses()[0]).unwrap();
    stream.write_all(b"GET /metadata/v1/region HTTP/1.1\r\n\r\nGET /metadata/v1/id HTTP/1.1\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(text.contains("\r\n\r\nnyc3HTTP/1.1 200 OK") && text.ends_with("2756294"), "{text}");
}

#[test]
fn a_simulation_ends_with_its_last_owner() {
    let running = run(&["stall"]);
    let address = running.addresses()[0];
    let asking = std::thread::spawn(move || ask(address, "GET", PATH, &[]));
    running.journal().wait_for(0, Duration::from_secs(2)).unwrap();
    let began = Instant::now();
    drop(running);
    assert!(asking.join().unwrap().is_err() && began.elapsed() < Duration::from_secs(1));
    assert_eq!(ask(address, "GET", PATH, &[]).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn every_fault_is_tried_here_or_in_a_namespace() {
    let tried = include_str!("faults.rs");
    for script in SCRIPTS.iter().filter(|script| script.needs != Needs::Namespace) {
        let is_named = [format!("\"{}\"", script.name), format!("\"{}=", script.name)]
            .iter()
            .any(|name| tried.contains(name));
        assert!(is_named, "{}", script.name);
    }
}

fn local() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

#[test]
fn what_a_client_sends_too_late_does_not_cost_it_the_answer() {
    let running = run(&[]);
    let mut stream = TcpStream::connect(running.addresses()[0]).unwrap();
    write!(stream, "GET {PATH} HTTP/1.0\r\n\r\n").unwrap();
    for _ in 0..3 {
        sleep(Duration::from_millis(50));
        stream.write_all(b"\r\n").unwrap();
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}
