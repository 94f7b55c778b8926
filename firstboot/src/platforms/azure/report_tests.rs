use std::time::Duration;

use testkit::Reply;

use super::*;
use crate::host::root::Root;
use crate::net::trust::Trust;
use crate::report::tests::support::{SECONDS, context, deliver_to, facts, ok, place, refuse, status, target};

/// What a wireserver sends, shortened.
const GOAL: &str = "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?>
<GoalState xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"><Version>2012-11-30</Version><Incarnation>3</Incarnation>
<Machine><ExpectedState>Started</ExpectedState></Machine>
<Container><ContainerId>c-1</ContainerId><RoleInstanceList><RoleInstance>
<InstanceId>4d5._vm0</InstanceId><State>Started</State></RoleInstance></RoleInstanceList></Container></GoalState>";
const ASKED: &str =
    "GET /machine/?comp=goalstate HTTP/1.1\nx-ms-agent-name: firstboot\nx-ms-version: 2012-11-30";

fn health_of(state: &str) -> String {
    format!(
        "POST /machine?comp=health HTTP/1.1\ncontent-length: LENGTH\ncontent-type: text/xml; charset=utf-8\n\
         x-ms-agent-name: firstboot\nx-ms-version: 2012-11-30\n\
         <?xml version=\"1.0\" encoding=\"utf-8\"?>\n\
         <Health xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xmlns:xsd=\"http://www.w3.org/2001/XMLSchema\">\
         <GoalStateIncarnation>3</GoalStateIncarnation><Container><ContainerId>c-1</ContainerId><RoleInstanceList><Role>\
         <InstanceId>4d5._vm0</InstanceId><Health>{state}</Health></Role></RoleInstanceList></Container></Health>"
    )
}

fn without_length(request: &str) -> String {
    let length = request.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("none");
    request.replace(&format!("content-length: {length}\n"), "content-length: LENGTH\n")
}

#[test]
fn the_health_report_repeats_the_goal_state() {
    let failed = "<State>NotReady</State><Details><SubStatus>ProvisioningFailed</SubStatus>\
                  <Description>untrusted: the CA &lt;x&gt; &amp; &quot;pins&quot; differ</Description></Details>";
    for (outcome, state) in [
        (Outcome::Joined, "<State>Ready</State>"),
        (Outcome::NoConfig, "<State>Ready</State>"),
        (Outcome::AlreadyJoined, "<State>Ready</State>"),
        (Outcome::Failed, failed),
    ] {
        assert!(REPORTER.when.contains(&outcome));
        let place = place(vec![ok(GOAL), ok("")]);
        let told = deliver_to(
            &place.address.to_string(),
            Trust::System,
            &target("azure", &[]),
            &facts(&[]),
            &status(outcome),
            SECONDS,
        );
        assert_eq!(told.unwrap(), "told azure: health at 168.63.129.16");
        let asked = place.shapes();
        assert_eq!((asked[0].as_str(), without_length(&asked[1])), (ASKED, health_of(state)), "{outcome:?}");
        // It is XML again.
        let body = asked[1].split_once("2012-11-30\n").unwrap().1;
        assert!(xml::parse(body).is_some(), "{body}");
    }
}

#[test]
fn trouble_is_waited_for_where_it_may_pass_and_named_otherwise() {
    for (script, expected) in [
        (vec![refuse(500), ok(GOAL), refuse(503), ok("")], Ok("told azure: health at 168.63.129.16")),
        (vec![refuse(404), ok(GOAL), ok("")], Ok("told azure: health at 168.63.129.16")),
        (vec![refuse(403)], Err("answers 403")),
        (vec![ok("<html>")], Err("the goal state is not XML")),
        (vec![ok(&GOAL.replace("ContainerId", "C"))], Err("the goal state has no Container/ContainerId")),
        (vec![ok(GOAL), refuse(400)], Err("answers 400")),
        (vec![Reply::Silence], Err("no answer within")),
        (vec![], Err("refused")),
    ] {
        let place = place(script.clone());
        let limit = if script.iter().any(|does| matches!(does, Reply::Text(404 | 500, ..))) {
            SECONDS
        } else {
            Duration::from_millis(900)
        };
        let told = deliver_to(
            &place.address.to_string(),
            Trust::System,
            &target("azure", &[]),
            &facts(&[]),
            &status(Outcome::Joined),
            limit,
        );
        match (&told, expected) {
            (Ok(said), Ok(expected)) => assert_eq!(said, expected),
            (Err(said), Err(expected)) => assert!(said.contains(expected), "{said}"),
            _ => panic!("{script:?}: {told:?}"),
        }
    }
}

#[test]
fn goal_states_are_read_with_care() {
    let good = GoalState {
        incarnation: "3".to_owned(),
        container: "c-1".to_owned(),
        instance: "4d5._vm0".to_owned(),
    };
    assert_eq!(goal_state(GOAL.as_bytes()), Ok(good));
    let inject = GOAL.replace("c-1", "&lt;/ContainerId&gt;");
    let dtd = GOAL
        .replace("<GoalState ", "<!DOCTYPE x [<!ENTITY a \"b\">]><GoalState ")
        .replace("c-1", "&a;");
    let deep = "<a>".repeat(30_000);
    for (bytes, why) in [
        (&b""[..], "not XML"),
        (b"\xff\xfe", "not UTF-8"),
        (inject.as_bytes(), "no Container/ContainerId"),
        (dtd.as_bytes(), "not XML"),
        (deep.as_bytes(), "not XML"),
        (&vec![b' '; 300 * 1024][..], "longer than"),
        (GOAL.replace(">3<", "><").as_bytes(), "no Incarnation"),
        (
            GOAL.replace("4d5._vm0", &"x".repeat(300)).as_bytes(),
            "no Container/RoleInstanceList/RoleInstance/InstanceId",
        ),
    ] {
        let error = goal_state(bytes).unwrap_err();
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn texts_are_cut_and_escaped() {
    let goal = GoalState { incarnation: "1".to_owned(), container: "c".to_owned(), instance: "i".to_owned() };
    let long = health(&goal, Some(&"é".repeat(600)));
    assert_eq!(long.matches('é').count(), LONGEST_DESCRIPTION / 2);
    assert!(health(&goal, Some("a\u{1b}[2J\u{ffff}'")).contains("<Description>a [2J &apos;</Description>"));
    let time = "2026-11-24T15:00:00Z".parse().unwrap();
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        report("vm", &time, None),
        format!(
            "result=success|agent=firstboot/{version}|pps_type=None|vm_id=vm|timestamp=2026-11-24T15:00:00Z"
        )
    );
    assert_eq!(
        report("vm", &time, Some("a|b")),
        format!(
            "result=error|reason=a/b|agent=firstboot/{version}|pps_type=None|vm_id=vm|timestamp=2026-11-24T15:00:00Z"
        )
    );
    let cut = report("vm", &time, Some(&"é".repeat(2000)));
    assert!(cut.len() <= 1024 && cut.len() > 1000 && cut.ends_with("timestamp=2026-11-24T15:00:00Z"));
}

#[test]
fn the_host_is_told_by_the_pool_even_when_the_wireserver_is_dead() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("var/lib/hyperv")).unwrap();
    let (root, facts, status) =
        (Root::at(folder.path()), facts(&[("instance-id", "vm-1")]), status(Outcome::Failed));
    let nobody = place(vec![]).address;
    let context =
        context(&root, &facts, &status, Some(nobody.to_string()), Trust::System, Duration::from_millis(300));
    assert!(deliver(&target("azure", &[]), &context).is_err());
    let pool = std::fs::read(folder.path().join("var/lib/hyperv/.kvp_pool_1")).unwrap();
    assert!(pool.len() == 2560 && pool.starts_with(b"PROVISIONING_REPORT\0"));
    assert!(
        pool[512..]
            .starts_with(b"result=error|reason=untrusted: the CA <x> & \"pins\" differ|agent=firstboot/")
    );
}

#[test]
fn hostile_goal_states_do_no_harm() {
    let nested = format!("<GoalState>{}{}</GoalState>", "<a>".repeat(9_000), "</a>".repeat(9_000));
    assert!(goal_state(nested.as_bytes()).unwrap_err().contains("no Incarnation"));
    let mut state = 1_u64;
    for _ in 0..5_000 {
        let mut bytes = GOAL.as_bytes().to_vec();
        for _ in 0..4 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let at = (state >> 33) as usize % bytes.len();
            bytes[at] = (state >> 24) as u8;
        }
        if let Ok(goal) = goal_state(&bytes) {
            assert!(is_plain(&goal.incarnation) && is_plain(&goal.container) && is_plain(&goal.instance));
        }
    }
}
