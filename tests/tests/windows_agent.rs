//! The agent for Windows, run by wine. Windows itself cannot be had here: what wine does not do as Windows
//! does is not proven.

#[path = "windows_agent/canary.rs"]
mod canary;
#[path = "windows_agent/drives.rs"]
mod drives;
#[path = "windows_agent/firmware.rs"]
mod firmware;

use std::os::unix::fs::chown;
use std::path::Path;
use std::process::Command;

use kiln_simulator::Simulation;
use kiln_tests::agent;
use kiln_tests::simulated::{self, Machine};
use kiln_tests::wine::{Said, Windows};
use kiln_tests::{kiln, workspace};
use serde_json::Value;
use testkit::not_run;

/// The limit on the size of the agent, in bytes.
const LARGEST: u64 = 5_000_000;

const CONFIG: &str = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: JoinConfiguration\nnodeRegistration: {name: n1}\n\
    discovery: {bootstrapToken: {apiServerEndpoint: '10.0.0.1:6443', token: abcdef.0123456789abcdef, \
    unsafeSkipCAVerification: true}}\n";

#[test]
fn the_agent_runs_and_finds_nothing_on_a_machine_without_anything() {
    let machine = Windows::new();
    let version = machine.run(&["--version"]);
    assert_eq!((version.code, version.text.trim_end()), (Some(0), "firstboot 0.1.0"));
    let run = machine.run(&["run"]);
    assert_eq!(run.code, Some(0), "{}", run.text);
    let status: Value =
        serde_json::from_str(&machine.text("/ProgramData/firstboot/boot/status.json").unwrap()).unwrap();
    assert_eq!(status["outcome"], "no-config");
    assert!(status["began"].as_f64().unwrap() > 0.0, "{status}");
    assert!(machine.run(&["status"]).text.starts_with("outcome   no-config"));
    let install = machine.run(&["install", "--list"]);
    assert!(install.code == Some(64) && install.text.is_empty(), "{install:?}");
}

#[test]
fn a_config_of_the_image_is_found_and_its_token_not_shown() {
    let machine = Windows::new();
    machine.write("/ProgramData/firstboot/config.yaml", CONFIG);
    machine.write("/usr/lib/kiln/image.json", r#"{"variables": {"kubernetes": "1.36.2"}}"#);
    let explained = machine.run(&["explain", "--json"]);
    assert_eq!(explained.code, Some(0), "{}", explained.text);
    assert!(explained.text.contains("/ProgramData/firstboot/config.yaml"), "{}", explained.text);
    assert!(!explained.text.contains("0123456789abcdef"), "{}", explained.text);
}

/// Cluster API's provider for Azure writes such paths.
#[test]
fn files_of_user_data_may_name_the_drive_of_the_system_and_no_other() {
    for (path, expected) in [
        ("c:/k/azure.json", Some("/k/azure.json")),
        (r"C:\k\azure.json", Some("/k/azure.json")),
        ("D:/azure.json", None),
        (r"C:\..\azure.json", None),
        ("c:azure.json", None),
    ] {
        let machine = Windows::new();
        let config: String = CONFIG.lines().map(|line| format!("    {line}\n")).collect();
        let text = format!(
            "#cloud-config\nwrite_files:\n- {{path: '{path}', content: x}}\n- path: /etc/kubeadm.yml\n  content: |\n{config}\
             runcmd:\n- kubeadm join --config /etc/kubeadm.yml\n"
        );
        machine.write("/ProgramData/firstboot/config.yaml", &text);
        let explained = machine.run(&["explain", "--json"]);
        match expected {
            Some(expected) => assert!(explained.text.contains(expected), "{path}: {}", explained.text),
            None => assert_ne!(explained.code, Some(0), "{path}: {}", explained.text),
        }
    }
}

#[test]
fn the_agent_is_small() {
    let machine = Windows::new();
    let size = std::fs::metadata(machine.agent(&[]).get_args().next().unwrap()).unwrap().len();
    assert!(size <= LARGEST, "{size} bytes");
}

#[test]
fn the_agent_is_a_service_that_starts_at_boot_and_again_after_a_failure() {
    const SERVICE: &str = r"SYSTEM\CurrentControlSet\Services\firstboot";
    const SOURCE: &str = r"SYSTEM\CurrentControlSet\Services\EventLog\Application\firstboot";
    let machine = Windows::new();
    for _ in 0..2 {
        let installed = machine.run(&["service", "install"]);
        assert_eq!(installed.code, Some(0), "{}", installed.text);
    }
    let command_line = machine.value(SERVICE, "ImagePath").unwrap();
    assert!(command_line.ends_with("firstboot.exe\" service run"), "{command_line}");
    assert_eq!(machine.value(SERVICE, "Start").as_deref(), Some("0x2"));
    assert!(machine.value(SOURCE, "EventMessageFile").unwrap().ends_with("EventLogMessages.dll"));
    machine.succeed("net.exe", &["start", "firstboot"]);
    let deadline = std::time::Instant::now() + workspace::patience(std::time::Duration::from_secs(60));
    let log = loop {
        let log = machine.text("/var/log/firstboot/firstboot.log").unwrap_or_default();
        if log.contains("firstboot-verdict") {
            break log;
        }
        assert!(std::time::Instant::now() < deadline, "{log}");
        std::thread::sleep(std::time::Duration::from_millis(100));
    };
    assert!(log.contains("no-config"), "{log}");
    assert_eq!(machine.run(&["service", "remove"]).code, Some(0));
    assert_eq!((machine.value(SERVICE, "ImagePath"), machine.value(SOURCE, "TypesSupported")), (None, None));
    assert_eq!(machine.run(&["service", "other"]).code, Some(64));
}

/// A document that ends a join soon.
const SOON: &str = "---\napiVersion: firstboot.kiln/v1\nkind: FirstbootConfiguration\ndeadline: 1s\n";

/// A machine whose image asks the agent for these features.
fn with_features(names: &[&str]) -> Windows {
    let machine = Windows::new();
    machine.write("/usr/lib/kiln/image.json", r#"{"variables": {"kubernetes": "1.36.2"}}"#);
    // No API server is there, which is known soon.
    machine.write("/ProgramData/firstboot/config.yaml", format!("{CONFIG}{SOON}"));
    machine.ask_for_features(names);
    machine
}

/// The verdict of a run, and whether Windows was asked for a restart: wine says so, and does nothing.
fn run(machine: &Windows) -> (Value, bool) {
    let mut command = machine.agent(&["run"]);
    let output = command.env("WINEDEBUG", "-all,fixme+advapi").output().expect("wine starts");
    let asked = String::from_utf8_lossy(&output.stderr).contains("InitiateSystemShutdownExW");
    (agent::verdict(&String::from_utf8_lossy(&output.stdout)), asked)
}

fn calls_of_dism(machine: &Windows) -> Vec<String> {
    let text = machine.text("/dism/called").unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

const ENABLED: &str = "/English /Online /Enable-Feature /FeatureName:";

#[test]
fn features_cost_one_restart_after_which_the_run_goes_on() {
    let machine = with_features(&["Containers", "Microsoft-Hyper-V"]);
    let (verdict, asked) = run(&machine);
    assert_eq!((&verdict["outcome"], &verdict["exit"], asked), (&"restart".into(), &0.into(), true));
    let calls = calls_of_dism(&machine);
    let ends: Vec<_> = calls.iter().map(|call| call.split_once(ENABLED).unwrap().1).collect();
    assert_eq!(ends, ["Containers /All /NoRestart", "Microsoft-Hyper-V /All /NoRestart"]);
    assert!(machine.text("/ProgramData/firstboot/config.yaml").is_some());

    machine.restart();
    for _ in 0..2 {
        let (verdict, asked) = run(&machine);
        assert_eq!((&verdict["phase"], asked), (&"discovery".into(), false), "{verdict}");
    }
    // Enabled is enabled: a later run does not ask for it.
    assert_eq!(calls_of_dism(&machine).len(), 4);
}

#[test]
fn a_restart_that_changes_nothing_is_the_last_one() {
    let machine = with_features(&["Containers"]);
    assert_eq!(run(&machine).0["outcome"], "restart");
    std::fs::remove_file(machine.path("/dism/pending")).unwrap();
    for _ in 0..2 {
        machine.restart();
        let (verdict, asked) = run(&machine);
        assert_eq!(
            (&verdict["class"], &verdict["phase"], asked),
            (&"host".into(), &"features".into(), false)
        );
        assert!(verdict["message"].as_str().unwrap().contains("still lacks them"), "{verdict}");
        let status = machine.run(&["status"]).text;
        assert!(status.contains("dism.log says why"), "{status}");
        std::fs::remove_file(machine.path("/dism/pending")).unwrap();
    }
}

#[test]
fn a_feature_that_windows_refuses_ends_the_run_with_its_code_and_what_to_do() {
    let machine = with_features(&["Containers"]);
    for (code, message, help) in
        [("0x800f081f", "0x800f081f: The reason in words.", "with its source"), ("87", "0x57", "dism.log")]
    {
        machine.write("/dism/code", code);
        let (verdict, asked) = run(&machine);
        assert_eq!((&verdict["outcome"], asked), (&"failed".into(), false));
        assert!(verdict["message"].as_str().unwrap().contains(message), "{verdict}");
        assert!(machine.run(&["status"]).text.contains(help));
    }
}

#[test]
#[ignore = "slow: make test-long runs it"]
fn a_feature_that_takes_long_is_told_of() {
    let machine = with_features(&["Containers"]);
    machine.write("/dism/seconds", "33");
    let said = machine.run(&["run"]);
    assert_eq!(agent::verdict(&said.text)["outcome"], "restart");
    let news: Vec<_> = said.text.lines().filter(|line| line.contains("still enabling")).collect();
    assert!(news.len() == 1 && news[0].contains("Containers: DISM has run for 0 min 30 s"), "{}", said.text);
}

/// What is told of the platform and of each fact, without the time.
fn told(text: &str) -> String {
    let line = text.lines().last().unwrap_or_default();
    let all: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{text}"));
    let facts = all["facts"].as_object().into_iter().flatten();
    let facts = facts.map(|(name, fact)| format!("{name}: {} by {}\n", fact["value"], fact["source"]));
    format!("{} {} {}\n", all["platform"], all["config"], all["from facts"]) + &facts.collect::<String>()
}

/// Clouds with a metadata service that offer Windows.
const CLOUDS: &[&str] = &[
    "akamai",
    "alibaba",
    "azure",
    "cloudstack",
    "ec2",
    "exoscale",
    "gce",
    "hetzner",
    "openstack",
    "oracle",
    "upcloud",
    "vultr",
];

/// What the agent for Windows says on a machine with this firmware and command line. The server of CloudStack
/// is that of the lease, which wine has not: there it reads the folder.
fn explained_by_windows(cloud: &str, root: &Path) -> Said {
    if cloud == "cloudstack" {
        return Windows::new().run(&["explain", "--json", "--rootfs", &format!("Z:{}", root.display())]);
    }
    let machine = Windows::with_firmware_of(root);
    let arguments = std::fs::read(root.join("proc/cmdline")).expect("every machine has it");
    machine.write("/ProgramData/firstboot/arguments", arguments);
    machine.run(&["explain", "--json"])
}

#[test]
fn the_metadata_of_every_cloud_with_windows_is_read_as_on_linux() {
    if !simulated::can_start("the_metadata_of_every_cloud_with_windows_is_read_as_on_linux") {
        return;
    }
    let mut wrong = Vec::new();
    for cloud in CLOUDS {
        let read = std::thread::spawn(move || {
            let machine = Machine::start(Simulation::of(cloud).user_data(CONFIG.as_bytes()));
            let said = explained_by_windows(cloud, machine.root());
            let mut linux = Command::new(kiln::programs().join("firstboot"));
            let linux = linux.args(["explain", "--json", "--rootfs"]).arg(machine.root()).output();
            let linux = linux.expect("the agent starts");
            (said.text, String::from_utf8_lossy(&linux.stdout).into_owned())
        });
        let (windows, linux) = read.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        // The address of the folder's machine is not known.
        let (windows, linux) = (told(&windows).replace("\"--node-ip=203.0.113.12\",", ""), told(&linux));
        if windows != linux || !windows.contains("http://") || !windows.contains("instance-id") {
            wrong.push(format!("{cloud}:\n{windows}on Linux:\n{linux}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Another user than the test's, by number; wine tells no more of owners.
const STRANGER: u32 = 12_345;

#[test]
fn what_another_user_made_in_the_agents_folders_is_refused_by_name() {
    if !workspace::is_root() {
        not_run("what_another_user_made_in_the_agents_folders_is_refused_by_name", "it needs root");
        return;
    }
    for (stranger, named) in [
        ("/ProgramData/firstboot/config.yaml", "config.yaml is not trusted: it belongs to S-1-5-7"),
        ("/ProgramData/firstboot/state/journal.json", "journal.json is not trusted: it belongs to S-1-5-7"),
        ("/ProgramData/firstboot/boot", "boot is not trusted: it belongs to S-1-5-7"),
        ("/ProgramData/firstboot", "firstboot is not trusted: it belongs to S-1-5-7"),
    ] {
        let machine = with_features(&[]);
        machine.write("/ProgramData/firstboot/state/journal.json", "{}");
        std::fs::create_dir_all(machine.path("/ProgramData/firstboot/boot")).unwrap();
        chown(machine.path(stranger), Some(STRANGER), None).expect("root may give files away");
        let verdict = agent::verdict(&machine.run(&["run"]).text);
        assert_eq!(verdict["class"], "host", "{stranger}: {verdict}");
        assert!(verdict["message"].as_str().unwrap().contains(named), "{stranger}: {verdict}");
        assert!(!machine.path("/ProgramData/firstboot/boot/status.json").exists(), "{stranger}");
    }
    // An empty one is no better: who made it may hold it open.
    let machine = Windows::new();
    let folder = machine.path("/ProgramData/firstboot");
    std::fs::create_dir_all(&folder).expect("the folder is the test's");
    chown(&folder, Some(STRANGER), None).expect("root may give files away");
    for _ in 0..2 {
        assert_eq!(agent::verdict(&machine.run(&["run"]).text)["class"], "host");
        assert!(!folder.join("boot/status.json").exists());
    }
}
