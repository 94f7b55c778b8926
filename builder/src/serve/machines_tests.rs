use super::*;
use crate::serve::machine::MOST_VOID;

fn machines(rules: Rules, state: Option<&Path>) -> Machines {
    Machines::open(state, rules, &[]).unwrap()
}

fn config() -> Config {
    Config::new("kind: x\n".into(), &Identity::default(), None, None).unwrap()
}

fn identity(mac: &str) -> Identity {
    Identity { mac: Some(mac.to_owned()), ..Identity::default() }
}

const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
const B: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

/// The machine asks and gets a script.
fn script(machines: &Machines, mac: &str) -> (Arc<str>, Ids) {
    let (key, next) = machines.seen(&identity(mac), A).unwrap();
    assert_eq!(next, Next::Boot);
    let ids = machines.issue(&key, Some(&config())).unwrap();
    (key, ids)
}

fn outcome(machines: &Machines, id: &str, address: IpAddr) -> &'static str {
    match machines.take(id, address) {
        Take::Give { .. } => "given",
        Take::Later(_) => "later",
        Take::Void(_) => "void",
        Take::Unknown => "unknown",
    }
}

fn only(machines: &Machines) -> Machine {
    machines.snapshot().machines.pop().unwrap()
}

#[test]
fn a_config_is_given_once() {
    let all = machines(Rules::default(), None);
    let (key, ids) = script(&all, "m");
    assert_eq!(outcome(&all, &ids.config, A), "given");
    // It is still on its way: the same client may ask again later, others never.
    assert_eq!(outcome(&all, &ids.config, A), "later");
    assert_eq!(outcome(&all, &ids.config, B), "void");
    all.delivered(&key, &ids.config, A, true);
    assert_eq!(outcome(&all, &ids.config, A), "void");
    let machine = only(&all);
    assert_eq!((machine.phase, machine.refused), (Phase::ConfigTaken, 2));
    assert_eq!(machine.taken.map(|event| event.address), Some(A));
    for id in [&ids.report, &ids.boot, &ids.install, &"0".repeat(32), &String::new()] {
        assert_eq!(outcome(&all, id, A), "unknown", "{id}");
    }
    assert_eq!(all.snapshot().refusals.len(), 4);
}

#[test]
fn a_config_that_was_cut_off_can_be_asked_for_again_by_the_same_client_for_a_while() {
    let all = machines(Rules::default(), None);
    let (key, ids) = script(&all, "m");
    for _ in 0..MOST_CUT_OFF {
        assert_eq!(outcome(&all, &ids.config, A), "given");
        all.delivered(&key, &ids.config, A, false);
        assert_eq!(outcome(&all, &ids.config, B), "void");
    }
    assert_eq!(outcome(&all, &ids.config, A), "void");
    assert_eq!(only(&all).taken, None);
}

#[test]
fn a_new_script_makes_the_old_ids_void() {
    let all = machines(Rules::default(), None);
    let scripts: Vec<Ids> = (0..MOST_VOID + 3).map(|_| script(&all, "m").1).collect();
    let (last, old) = scripts.split_last().unwrap();
    for (number, ids) in old.iter().enumerate() {
        let expected = if number < 2 { "unknown" } else { "void" };
        assert_eq!(outcome(&all, &ids.config, A), expected, "{number}");
        assert!(all.report(&ids.report, &Value::Null).is_none());
    }
    assert_eq!(outcome(&all, &last.config, A), "given");
    assert_eq!(all.inner().owners.len(), 4 + MOST_VOID);
}

#[test]
fn once_means_the_disk_after_the_config_and_an_installation_the_disk_after_success() {
    let all = machines(Rules { is_once: true, is_install: false }, None);
    let (key, ids) = script(&all, "m");
    assert_eq!(outcome(&all, &ids.config, A), "given");
    assert_eq!(all.seen(&identity("m"), A).unwrap().1, Next::Boot);
    all.delivered(&key, &ids.config, A, true);
    assert!(matches!(all.seen(&identity("m"), A).unwrap().1, Next::Disk(_)));
    // Nor does a machine escape that asks again while its config is on its way.
    let (key, ids) = script(&all, "n");
    assert_eq!(outcome(&all, &ids.config, A), "given");
    script(&all, "n");
    all.delivered(&key, &ids.config, A, true);
    assert!(matches!(all.seen(&identity("n"), A).unwrap().1, Next::Disk(_)));

    let all = machines(Rules { is_once: false, is_install: true }, None);
    let (key, ids) = script(&all, "m");
    assert_eq!(outcome(&all, &ids.config, A), "given");
    all.delivered(&key, &ids.config, A, true);
    let report = |text: &str| all.install_report(&ids.install, &serde_json::from_str(text).unwrap()).unwrap();
    report(r#"{"phase": "installing", "percent": 40.7, "disk": "nvme0n1"}"#);
    let machine = only(&all);
    assert_eq!((machine.phase, machine.percent), (Phase::Installing, Some(40)));
    report(r#"{"phase": "failed", "message": "too small"}"#);
    assert_eq!((only(&all).phase, only(&all).message.as_deref()), (Phase::InstallFailed, Some("too small")));
    assert_eq!(all.seen(&identity("m"), A).unwrap().1, Next::Boot);
    report(r#"{"phase": "installed", "percent": 1e300}"#);
    assert!(matches!(all.seen(&identity("m"), A).unwrap().1, Next::Disk(_)));
    report(r#"{"phase": "failed"}"#);
    assert!(matches!(all.seen(&identity("m"), A).unwrap().1, Next::Disk(_)), "it would be installed again");
}

#[test]
fn verdicts_are_kept_short_and_visible() {
    let all = machines(Rules::default(), None);
    let (_, ids) = script(&all, "m");
    all.loading(&ids.boot, 30);
    assert_eq!((only(&all).phase, only(&all).percent), (Phase::Loading, Some(30)));
    all.report(&ids.report, &serde_json::json!({"outcome": "joined", "node": "n1", "class": 7}))
        .unwrap();
    let machine = only(&all);
    assert_eq!((machine.phase, machine.node.as_deref(), machine.message), (Phase::Joined, Some("n1"), None));
    // Late bytes of the initrd are no way back, nor is the end of the config's connection.
    all.loading(&ids.boot, 90);
    assert_eq!(outcome(&all, &ids.config, A), "given");
    all.delivered(&"m".into(), &ids.config, A, true);
    assert_eq!((only(&all).phase, only(&all).taken.is_some()), (Phase::Joined, true));
    let long = format!("\u{1b}[2J{}", "x".repeat(5000));
    all.report(&ids.report, &serde_json::json!({"outcome": "failed", "class": "source", "message": long}))
        .unwrap();
    let machine = only(&all);
    assert_eq!((machine.phase, machine.class.as_deref()), (Phase::Failed, Some("source")));
    let message = machine.message.unwrap();
    assert!(message.starts_with("\\u001b[2Jx") && message.len() == LONGEST_TEXT);
    assert!(all.report(&ids.config, &Value::Null).is_none());
}

#[test]
fn what_machines_took_survives_a_restart_and_a_line_that_was_cut() {
    let folder = tempfile::tempdir().unwrap();
    let rules = Rules { is_once: true, is_install: false };
    let all = machines(rules, Some(folder.path()));
    let (key, ids) = script(&all, "52:54:00:00:00:01");
    let (_, other) = script(&all, "52:54:00:00:00:02");
    assert_eq!(outcome(&all, &ids.config, A), "given");
    all.delivered(&key, &ids.config, A, true);
    let busy = Machines::open(Some(folder.path()), rules, &[]).unwrap_err();
    assert!(busy.to_string().contains("another kiln serve"), "{busy}");
    drop(all);
    let path = folder.path().join("machines.jsonl");
    let mut text = std::fs::read_to_string(&path).unwrap();
    text.push_str("{\"key\": \"52:54");
    std::fs::write(&path, text).unwrap();

    let all = machines(rules, Some(folder.path()));
    assert!(matches!(all.seen(&identity("52:54:00:00:00:01"), A).unwrap().1, Next::Disk(_)));
    assert_eq!(outcome(&all, &ids.config, A), "void");
    // Its text with the token was only in memory.
    assert_eq!(outcome(&all, &other.config, A), "void");
    all.report(&ids.report, &serde_json::json!({"outcome": "joined"})).unwrap();
    drop(all);

    let forget = |name: &str| Machines::open(Some(folder.path()), rules, &[name.to_owned()]);
    assert!(forget("52:54:00:00:00:09").unwrap_err().to_string().contains("no such machine"));
    let all = forget("52-54-00-00-00-01").unwrap();
    assert_eq!(all.seen(&identity("52:54:00:00:00:01"), A).unwrap().1, Next::Boot);
    drop(all);
    std::fs::write(&path, "{\"key\": 7}\n").unwrap();
    assert!(
        Machines::open(Some(folder.path()), rules, &[])
            .unwrap_err()
            .to_string()
            .contains("line 1")
    );
}

/// One that is not new too often.
fn address(number: usize) -> IpAddr {
    IpAddr::from([10, 1, 0, (number / MOST_NEW) as u8])
}

const UUID: &str = "4c4c4544-0042-3510-8052-b4c04f4e4d31";

fn with_uuid(mac: &str, uuid: &str) -> Identity {
    Identity { uuid: Some(uuid.to_owned()), ..identity(mac) }
}

#[test]
fn an_installed_machine_that_boots_from_another_interface_is_not_installed_again() {
    let folder = tempfile::tempdir().unwrap();
    let rules = Rules { is_once: false, is_install: true };
    let all = machines(rules, Some(folder.path()));
    let (key, next) = all.seen(&with_uuid("m", UUID), A).unwrap();
    assert_eq!(next, Next::Boot);
    let ids = all.issue(&key, None).unwrap();
    all.install_report(&ids.install, &serde_json::json!({"phase": "installed"})).unwrap();
    let is_disk =
        |all: &Machines, identity: &Identity| matches!(all.seen(identity, A).unwrap().1, Next::Disk(_));
    assert!(is_disk(&all, &with_uuid("n", UUID)));
    assert_eq!(only(&all).more_macs, ["n"]);
    // Nobody takes its UUID away in its name.
    let other = UUID.replace('4', "5");
    assert!(is_disk(&all, &with_uuid("m", &other)) && is_disk(&all, &with_uuid("o", UUID)));
    // A machine that was known by its address alone is the installed one after all.
    assert!(!is_disk(&all, &identity("p")) && is_disk(&all, &with_uuid("p", UUID)));
    assert!(!is_disk(&all, &with_uuid("q", &other)));
    drop(all);
    let all = machines(rules, Some(folder.path()));
    assert!(is_disk(&all, &with_uuid("r", UUID)));
    drop(all);
    let all = Machines::open(Some(folder.path()), rules, &[UUID.to_uppercase()]).unwrap();
    assert!(!is_disk(&all, &with_uuid("m", UUID)));
}

#[test]
fn machines_whose_vendor_gave_all_the_same_uuid_are_told_apart() {
    let all = machines(Rules { is_once: true, is_install: false }, None);
    let shared = ["00000000-0000-0000-0000-000000000000", "03000200-0400-0500-0006-000700080009"];
    for (number, uuid) in shared.into_iter().enumerate() {
        let (key, _) = all.seen(&with_uuid(&format!("m{number}"), uuid), A).unwrap();
        let ids = all.issue(&key, Some(&config())).unwrap();
        assert_eq!(outcome(&all, &ids.config, A), "given");
        all.delivered(&key, &ids.config, A, true);
        assert_eq!(all.seen(&with_uuid(&format!("n{number}"), uuid), A).unwrap().1, Next::Boot);
    }
    assert_eq!(all.snapshot().machines.len(), 4);
}

#[test]
fn made_up_machines_push_out_each_other_and_none_with_a_config() {
    let all = machines(Rules::default(), None);
    let (_, ids) = script(&all, "real");
    for number in 0..MOST_IDLE + 50 {
        let (key, _) = all.seen(&identity(&number.to_string()), address(number)).unwrap();
        all.nothing(&key, "there is no node config for it", true);
    }
    assert_eq!(all.inner().machines.len(), MOST_IDLE + 1);
    assert_eq!(outcome(&all, &ids.config, A), "given");
    // Nor do they when the memory is full, although it was seen first.
    all.inner()
        .machines
        .values_mut()
        .for_each(|machine| machine.last_seen += u64::from(machine.ids.is_none()));
    assert!(all.inner().forget_oldest());
    assert_eq!(all.inner().machines.values().filter(|machine| machine.ids.is_some()).count(), 1);
}

#[test]
fn one_address_is_not_more_than_so_many_new_machines_in_a_minute() {
    let mut newcomers = Newcomers::default();
    assert!((0..MOST_NEW).all(|_| !newcomers.is_too_many(A, 7)));
    assert!(newcomers.is_too_many(A, 7) && !newcomers.is_too_many(B, 7) && !newcomers.is_too_many(A, 8));
}

#[test]
fn a_full_memory_forgets_machines_that_took_nothing_and_no_others() {
    let all = machines(Rules { is_once: true, is_install: false }, None);
    for number in 0..MOST {
        all.seen(&identity(&number.to_string()), address(number)).unwrap();
    }
    all.seen(&identity("one more"), A).unwrap();
    assert_eq!(all.inner().machines.len(), MOST);
    let event = Event { time: 0, address: A };
    all.inner().machines.values_mut().for_each(|machine| machine.taken = Some(event.clone()));
    assert!(all.seen(&identity("too many"), A).unwrap_err().contains("as many"));
    assert!(matches!(all.seen(&identity("one more"), A).unwrap().1, Next::Disk(_)));
}
