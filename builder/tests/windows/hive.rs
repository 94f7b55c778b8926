//! Hives beside hivex and reglookup, which read and write them too.

use std::fs;
use std::path::Path;

use kiln::format::hive::{Hive, Value};

use crate::tools::{have, run};

const EPOCH: u64 = 1_577_836_800;

const SERVICE: &str = r"ControlSet001\Services\kubelet";

/// A hive that hivex has filled.
fn of_hivex(folder: &Path) {
    fs::write(folder.join("SYSTEM"), Hive::new("ROOT", EPOCH).into_bytes()).unwrap();
    let keys: String = (0..600)
        .map(|number| format!("[\\ControlSet001\\Services\\svc{number}]\n\"Start\"=dword:00000003\n\n"))
        .collect();
    let text = format!(
        "Windows Registry Editor Version 5.00\n\n[\\Select]\n\"Current\"=dword:00000001\n\n[\\ControlSet001]\n\n\
         [\\ControlSet001\\Services]\n\n{keys}\
         [\\ControlSet001\\Services\\lanmanserver]\n\"ImagePath\"=hex(2):25,00,53,00,25,00,00,00\n\"Start\"=dword:00000002\n"
    );
    fs::write(folder.join("system.reg"), text).unwrap();
    run("hivexregedit", &["--merge", "--prefix", "HKLM\\SYSTEM", "SYSTEM", "system.reg"], folder);
}

#[test]
fn lookalike_hives_are_edited_and_others_read_every_value() {
    let test = "lookalike_hives_are_edited_and_others_read_every_value";
    if !have(test, &["hivexregedit", "hivexget", "hivexml", "reglookup"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    of_hivex(folder);
    let mut hive = Hive::read(fs::read(folder.join("SYSTEM")).unwrap(), EPOCH).unwrap();
    assert_eq!(hive.value("Select", "Current").unwrap(), Some(Value::Dword(1)));
    assert_eq!(
        hive.value(r"ControlSet001\Services\LanmanServer", "imagepath").unwrap(),
        Some(Value::ExpandString("%S%".to_owned()))
    );
    assert_eq!(hive.subkeys(r"ControlSet001\Services").unwrap().unwrap().len(), 601);

    let line = r"C:\k\kubelet.exe --windows-service";
    let list = ["containerd".to_owned(), "Tcpip".to_owned()];
    let values = [
        ("ImagePath", Value::ExpandString(line.to_owned()), line.to_owned()),
        ("DisplayName", Value::String("kubelet ü".to_owned()), "kubelet ü".to_owned()),
        ("Start", Value::Dword(2), "2".to_owned()),
        ("DependOnService", Value::MultiString(list.to_vec()), "containerd\nTcpip".to_owned()),
        ("Large", Value::Qword(1 << 40), (1_u64 << 40).to_string()),
    ];
    for (name, value, _) in &values {
        hive.set(SERVICE, name, value).unwrap();
    }
    let long: Vec<u8> = (0..50_000_u32).map(|byte| (byte % 251) as u8).collect();
    hive.set(SERVICE, "FailureActions", &Value::Binary(long.clone())).unwrap();
    hive.set(r"ControlSet001\Services\svc7", "Start", &Value::Dword(4)).unwrap();
    fs::write(folder.join("SYSTEM"), hive.into_bytes()).unwrap();

    for (name, _, shown) in &values {
        let said = run("hivexget", &["SYSTEM", SERVICE, name], folder);
        assert_eq!(said.trim_end(), shown, "{name}");
    }
    let said = run("hivexget", &["SYSTEM", r"ControlSet001\Services\svc7", "Start"], folder);
    assert_eq!(said.trim_end(), "4");
    let export = run("hivexregedit", &["--export", "SYSTEM", &format!("\\{SERVICE}")], folder);
    let bytes: Vec<String> = long.iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(export.contains(&format!("\"FailureActions\"=hex(3):{}", bytes.join(","))));
    // Both walk the whole hive.
    let keys = run("hivexml", &["SYSTEM"], folder);
    assert_eq!(keys.matches("<node ").count(), 1 + 2 + 1 + 601 + 1);
    let keys = run("reglookup", &["-t", "KEY", "SYSTEM"], folder);
    assert!(
        keys.lines()
            .any(|line| line.starts_with("/ControlSet001/Services/kubelet,KEY,,2020-01-01 00:00:00"))
    );
    assert_eq!(keys.lines().filter(|line| line.contains(",KEY,")).count(), 1 + 2 + 1 + 601 + 1);
    // hivex can go on writing where Kiln has ended.
    fs::write(
        folder.join("more.reg"),
        format!("Windows Registry Editor Version 5.00\n\n[\\{SERVICE}\\More]\n\"a\"=dword:00000005\n"),
    )
    .unwrap();
    run("hivexregedit", &["--merge", "SYSTEM", "more.reg"], folder);
    let hive = Hive::read(fs::read(folder.join("SYSTEM")).unwrap(), EPOCH).unwrap();
    assert_eq!(hive.value(&format!(r"{SERVICE}\More"), "a").unwrap(), Some(Value::Dword(5)));
    assert_eq!(hive.value(SERVICE, "FailureActions").unwrap(), Some(Value::Binary(long)));
}

/// Hives of real machines cannot be part of this project. Whoever has a folder of them names it: `NAME`,
/// its log files `NAME.LOG1` and `NAME.LOG2`, and `NAME.recovered` for what Windows or another program made
/// of the three. msuhanov/yarp and mkorman90/regipy have some.
#[test]
#[ignore = "needs KILN_TEST_HIVES, a folder of hives from real machines"]
fn hives_of_real_machines_are_edited_and_hivex_reads_everything_else_as_before() {
    let folder = std::env::var_os("KILN_TEST_HIVES").expect("KILN_TEST_HIVES names a folder");
    let scratch = tempfile::tempdir().unwrap();
    let exported = |name: &str| {
        let output = std::process::Command::new("hivexregedit")
            .args(["--export", name, "\\"])
            .current_dir(scratch.path())
            .output()
            .unwrap();
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (mut same, mut differ) = (0, Vec::new());
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let bytes = fs::read(&path).unwrap();
        let logs: Vec<Vec<u8>> = ["LOG1", "LOG2"]
            .iter()
            .filter_map(|ending| fs::read(path.with_file_name(format!("{name}.{ending}"))).ok())
            .collect();
        let mut hive = match Hive::recover(bytes.clone(), &logs, EPOCH) {
            Ok(hive) => hive,
            Err(error) => {
                eprintln!("{name}: refused: {}", error.message());
                continue;
            }
        };
        // What another program has recovered from the same files stands beside them.
        let bytes = match (logs.is_empty(), fs::read(path.with_file_name(format!("{name}.recovered")))) {
            (false, Ok(recovered)) => {
                let own = hive.clone().into_bytes();
                assert!(recovered[4096..].starts_with(&own[4096..]), "{name}: its bins differ");
                eprintln!("{name}: recovered");
                recovered
            }
            _ => bytes,
        };
        fs::write(scratch.path().join("before"), &bytes).unwrap();
        let Some(before) = exported("before") else {
            eprintln!("{name}: hivex refuses it");
            continue;
        };
        if let Err(error) = hive.set(r"Kiln\Test", "a", &Value::Dword(5)) {
            differ.push(format!("{name}: {error}"));
            continue;
        }
        fs::write(scratch.path().join("after"), hive.into_bytes()).unwrap();
        let after = exported("after").unwrap_or_default();
        let after = after.replace("[\\Kiln]\n\n[\\Kiln\\Test]\n\"a\"=dword:00000005\n\n", "");
        if after == before {
            same += 1;
        } else {
            let first = after.lines().zip(before.lines()).find(|(after, before)| after != before);
            differ.push(format!("{name}: {first:?}"));
        }
    }
    assert!(differ.is_empty(), "{same} hives are the same; {differ:#?}");
}
