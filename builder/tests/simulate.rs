//! `kiln simulate` as its users type it.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// A client for inside a namespace that needs nothing but a shell of bash.
const CLIENT: &str = r#"exec 3<>/dev/tcp/$1/80 && printf '%s %s HTTP/1.0\r\n\r\n' "$2" "$3" >&3 && cat <&3"#;

fn kiln(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kiln"))
        .arg("simulate")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Namespaces may be forbidden: then there is nothing to test.
fn inside(arguments: &[&str], command: &[&str]) -> Option<Output> {
    let output = kiln(&[arguments, &["--"], command].concat());
    let said = text(&output.stderr);
    if said.contains("making namespaces") || said.contains("mapping this user") {
        assert!(said.contains("help: allow user namespaces"), "{said}");
        testkit::not_run("kiln simulate -- COMMAND", &said);
        return None;
    }
    Some(output)
}

#[test]
fn platforms_and_faults_are_listed() {
    let list: Value = serde_json::from_slice(&kiln(&["--list", "--json"]).stdout).unwrap();
    let names = |key: &str| {
        list[key]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row["name"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert!(
        names("platforms").contains(&"ec2".to_owned()) && names("faults").contains(&"black-hole".to_owned())
    );
    let throttled = list["faults"]
        .as_array()
        .unwrap()
        .iter()
        .find(|fault| fault["name"] == "throttled")
        .unwrap();
    assert_eq!(
        (&throttled["passing"], &throttled["lasting"], &throttled["usually"]),
        (&"succeeds".into(), &"unreachable".into(), &2.into())
    );
    let shown = text(&kiln(&["--list"]).stdout);
    assert!(
        shown.contains("--set ")
            && shown.contains("169.254.42.42, fd00:42::42")
            && shown.contains("label config-2"),
        "{shown}"
    );
}

#[test]
fn without_a_command_it_listens_and_logs() {
    let folder = tempfile::tempdir().unwrap();
    let user_data = folder.path().join("join.yaml");
    fs::write(&user_data, "kind: JoinConfiguration\n").unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_kiln"))
        .args(["simulate", "--platform", "digitalocean", "--json", "--fault", "throttled=1", "--user-data"])
        .arg(&user_data)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    let listening = lines.next().unwrap();
    let address = listening["listening"].as_str().unwrap().strip_prefix("http://").unwrap().to_owned();
    let answers = [(); 2].map(|()| {
        let mut stream = TcpStream::connect(&address).unwrap();
        write!(stream, "GET /metadata/v1/user-data HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    });
    let logged = [(); 2].map(|()| lines.next().unwrap()["request"].clone());
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(
        answers[0].starts_with("HTTP/1.1 429") && answers[1].ends_with("\r\n\r\nkind: JoinConfiguration\n"),
        "{answers:?}"
    );
    assert_eq!(logged.each_ref().map(|entry| entry["status"].as_u64()), [Some(429), Some(200)]);
    assert_eq!(
        (&logged[0]["fault"], &logged[1]["target"]),
        (&"throttled".into(), &"/metadata/v1/user-data".into())
    );
}

#[test]
fn a_command_finds_the_platforms_own_addresses() {
    let get = ["bash", "-c", CLIENT, "-", "169.254.169.254", "GET", "/metadata/v1/region"];
    let Some(output) = inside(&["--platform", "digitalocean", "--set", "region=ams3"], &get) else { return };
    assert!(output.status.success() && text(&output.stdout).ends_with("\r\n\r\nams3"), "{output:?}");
    assert!(text(&output.stderr).contains("GET  /metadata/v1/region 200"), "{output:?}");
    let output = inside(&["--platform", "digitalocean", "--quiet"], &get).unwrap();
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn user_data_of_scaleway_comes_to_a_privileged_port() {
    // The shell cannot choose its port; the kernel can be told to take low ones.
    let script = format!(
        "cd /proc/sys/net/ipv4 && echo 0 > ip_unprivileged_port_start && echo '600 1000' > ip_local_port_range && {CLIENT}"
    );
    let get = ["bash", "-c", script.as_str(), "-", "169.254.42.42", "GET", "/user_data/cloud-init"];
    let Some(output) = inside(&["--platform", "scaleway", "--user-data", "/proc/sys/kernel/ostype"], &get)
    else {
        return;
    };
    assert!(text(&output.stdout).ends_with("\r\n\r\nLinux\n"), "{output:?}");
}

#[test]
fn a_command_sees_the_evidence_and_decides_the_exit_code() {
    let script = "test \"$1\" = \"$KILN_SIMULATED_ROOT/sys\" && cat \"$1/class/dmi/id/product_name\"; exit 7";
    let Some(output) = inside(&["--platform", "gce"], &["sh", "-c", script, "-", "{root}/sys"]) else {
        return;
    };
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(7), "Google Compute Engine\n"));
    let folder =
        inside(&["--platform", "gce"], &["sh", "-c", "echo $KILN_SIMULATED_ROOT; kill -9 $$"]).unwrap();
    assert_eq!(folder.status.code(), Some(137));
    assert!(!fs::exists(text(&folder.stdout).trim()).unwrap(), "the folder goes with the command");
    let output = inside(&["--platform", "gce"], &["/no/such/program"]).unwrap();
    assert!(
        output.status.code() == Some(8) && text(&output.stderr).contains("starting /no/such/program"),
        "{output:?}"
    );
}

#[test]
fn faults_of_the_network_are_there_for_commands() {
    let get = ["bash", "-c", "exec 3<>/dev/tcp/169.254.169.254/80"];
    let Some(output) = inside(&["--platform", "ec2", "--fault", "unreachable"], &get) else { return };
    assert!(text(&output.stderr).contains("unreachable"), "{output:?}");
    let output = inside(&["--platform", "ec2", "--ipv6-only"], &get).unwrap();
    assert!(text(&output.stderr).contains("unreachable"), "{output:?}");
}

#[test]
fn machines_and_drives_are_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let output = kiln(&[
        "--platform",
        "hetzner",
        "--set",
        "instance-id=4,2",
        "--root",
        &path("root"),
        "--qemu-arguments",
    ]);
    assert!(output.status.success());
    let lines: Vec<String> = text(&output.stdout).lines().map(str::to_owned).collect();
    assert!(
        lines[0] == "-smbios" && lines.iter().any(|line| line.starts_with("type=1,manufacturer=Hetzner,") && line.contains("serial=4,,2,"))
    );
    assert_eq!(
        fs::read_to_string(folder.path().join("root/sys/class/dmi/id/sys_vendor")).unwrap(),
        "Hetzner\n"
    );
    assert!(
        kiln(&["--platform", "nocloud-drive", "--user-data", "/proc/version", "--drive", &path("drive")])
            .status
            .success()
    );
    let image = fs::read(folder.path().join("drive")).unwrap();
    assert_eq!((&image[510..512], &image[71..82]), (&b"\x55\xaa"[..], &b"cidata     "[..]));
    assert!(image.windows(15).any(|window| window == b"local-hostname:"));
}

#[test]
fn a_program_for_windows_is_told_where_it_finds_the_simulator() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("firstboot.exe");
    // The least of a PE image: where its header is, and for which machine it is.
    let mut bytes = vec![0; 512];
    bytes[..2].copy_from_slice(b"MZ");
    bytes[0x3c] = 0x80;
    bytes[0x80..0x86].copy_from_slice(b"PE\0\0\x64\x86");
    fs::write(&program, bytes).unwrap();
    let program = program.display().to_string();
    for arguments in [&["--explain", "--firstboot", &program][..], &["--", &program, "explain"]] {
        let output = kiln(&[&["--platform", "ec2"][..], arguments].concat());
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("is a program for Windows") && said.contains("--qemu-arguments"), "{said}");
    }
}

#[test]
fn mistakes_are_explained() {
    for (arguments, code, expected) in [
        (&["--platform", "ec3"][..], 2, "there is no platform \"ec3\""),
        (&["--platform", "ec2", "--set", "zone"], 2, "there is no ="),
        (&["--platform", "ec2", "--set", "size=1"], 2, "it has access-key, account,"),
        (&["--platform", "ec2", "--fault", "slwo"], 2, "there is no fault \"slwo\""),
        (&["--platform", "ec2", "--fault", "unreachable"], 2, "give a command after --"),
        (&["--platform", "file"], 2, "has no service in the network"),
        (&["--platform", "ec2", "--drive", "/x"], 2, "has no configuration drive"),
        (&["--platform", "ec2", "--user-data", "/no/such"], 9, "reading /no/such"),
        (&["--platform", "ec2", "--listen", "192.0.2.1:80"], 8, "listening at 192.0.2.1:80"),
        (&["--platform", "nocloud-drive", "--explain"], 2, "write it with --drive"),
        (&["--platform", "openstack-drive", "--explain"], 2, "is a drive"),
        (&["--platform", "ec2", "--explain", "--firstboot", "/no/such"], 2, "is not there"),
        (&[], 2, "--platform <NAME>"),
    ] {
        let output = kiln(arguments);
        let said = text(&output.stderr);
        assert!(
            output.status.code() == Some(code) && said.contains(expected),
            "{arguments:?}: {:?} {said}",
            output.status
        );
    }
}
