use super::*;

const IMAGE: &str = include_str!("../../../layers/firstboot/kubelet-defaults.yaml");

fn proposed() -> Map<String, Value> {
    let Value::Object(fields) = serde_yaml_ng::from_str(IMAGE).unwrap() else { panic!("no mapping") };
    fields
}

fn machine(gib: u64) -> Resources {
    Resources { processors: 4, memory: gib * GIB, files_in_memory: 0 }
}

fn on(cluster: &Value, node: Option<&Value>, flags: &[Argument], kubelet: &str) -> Value {
    applicable(&proposed(), cluster, node, flags, kubelet.parse().unwrap(), &machine(4)).into()
}

#[test]
fn a_node_shuts_its_pods_down_and_reserves_for_its_system_unless_somebody_says_otherwise() {
    let shutdown = json!({"shutdownGracePeriod": "30s", "shutdownGracePeriodCriticalPods": "15s"});
    let reserved = json!({"systemReserved": {"cpu": "80m", "memory": "1024Mi"}});
    let both = json!({"shutdownGracePeriod": "30s", "shutdownGracePeriodCriticalPods": "15s",
        "systemReserved": {"cpu": "80m", "memory": "1024Mi"}});
    let kubeadms = json!({"shutdownGracePeriod": "0s", "shutdownGracePeriodCriticalPods": "0s", "clusterDNS": ["10.96.0.10"]});
    assert_eq!(on(&kubeadms, None, &[], "v1.36.2"), both);
    assert_eq!(on(&json!({"shutdownGracePeriod": "5s"}), None, &[], "v1.36.2"), reserved);
    assert_eq!(
        on(&json!({"shutdownGracePeriodByPodPriority": [{"priority": 0}]}), None, &[], "v1.36.2"),
        reserved
    );
    assert_eq!(
        on(&kubeadms, Some(&json!({"shutdownGracePeriod": "0s"})), &[], "v1.36.2"),
        reserved,
        "chosen"
    );
    assert_eq!(on(&json!({"kubeReserved": {"cpu": "1"}}), None, &[], "v1.36.2"), shutdown);
    assert_eq!(on(&json!({}), Some(&json!({"systemReserved": {}})), &[], "v1.36.2"), shutdown, "chosen");
    let flag = Argument { name: "kube-reserved".to_owned(), value: "cpu=1".to_owned() };
    assert_eq!(on(&json!({}), None, &[flag], "v1.36.2"), shutdown);
    assert_eq!(on(&json!({}), None, &[], "v1.20.2"), reserved, "1.20 refuses the fields");
}

#[test]
fn memory_of_files_is_reserved_and_something_always_remains() {
    let reserved = |memory_mib: u64, files_mib: u64| {
        let resources =
            Resources { processors: 1, memory: memory_mib * MIB, files_in_memory: files_mib * MIB };
        memory(&resources)
    };
    for (memory_mib, files_mib, expected) in [
        (512, 0, "255Mi"),
        (2048, 0, "512Mi"),
        (8192, 0, "1843Mi"),
        (262_144, 0, "12165Mi"),
        (8192, 4200, "6043Mi"),
        (2048, 1172, "1536Mi"),
        (300, 0, "225Mi"),
    ] {
        assert_eq!(
            reserved(memory_mib, files_mib),
            json!(expected),
            "{memory_mib} MiB, {files_mib} of files"
        );
    }
}

#[test]
fn a_machine_takes_as_many_pods_as_its_reserved_memory_is_enough_for() {
    for (memory_mib, expected) in
        [(512, 10), (1024, 10), (2048, 23), (4096, 69), (6144, 107), (8192, 110), (1 << 20, 110)]
    {
        assert_eq!(pods(memory_mib * MIB), expected, "{memory_mib} MiB");
    }
    let proposed = json!({"maxPods": "auto"}).as_object().unwrap().clone();
    let on = |cluster: &Value, node: Option<&Value>, memory: u64| -> Value {
        let machine = Resources { processors: 4, memory, files_in_memory: 0 };
        applicable(&proposed, cluster, node, &[], "v1.36.2".parse().unwrap(), &machine).into()
    };
    assert_eq!(on(&json!({}), None, 4 * GIB), json!({"maxPods": 69}));
    assert_eq!(on(&json!({}), None, 0), json!({}), "the machine does not say how much it has");
    assert_eq!(on(&json!({"maxPods": 250}), None, 4 * GIB), json!({}));
    assert_eq!(on(&json!({}), Some(&json!({"maxPods": 5})), 4 * GIB), json!({}));
}

#[test]
fn processors_are_reserved_by_steps() {
    for (count, expected) in [(1, "60m"), (2, "70m"), (4, "80m"), (64, "230m")] {
        assert_eq!(processors(count), json!(expected), "{count}");
    }
}

#[test]
fn without_the_file_nothing_is_proposed_and_a_wrong_one_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let root = Root::at(folder.path());
    assert_eq!(read(&root).unwrap(), Map::new());
    let path = root.path(paths::KUBELET_DEFAULTS);
    for nothing in ["", "# nothing\n"] {
        files::write(&path, nothing.as_bytes(), files::PUBLIC).unwrap();
        assert_eq!(read(&root).unwrap(), Map::new());
    }
    files::write(&path, IMAGE.as_bytes(), files::PUBLIC).unwrap();
    assert_eq!(read(&root).unwrap(), proposed());
    for wrong in ["- a\n", "a: [\n"] {
        files::write(&path, wrong.as_bytes(), files::PUBLIC).unwrap();
        let failure = read(&root).unwrap_err();
        assert!(failure.kind == ErrorKind::Config && failure.to_string().contains(paths::KUBELET_DEFAULTS));
    }
}
