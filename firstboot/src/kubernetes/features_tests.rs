use super::*;

fn version(text: &str) -> Version {
    text.parse().unwrap()
}

fn gate(value: bool) -> BTreeMap<String, bool> {
    BTreeMap::from([(NODE_LOCAL_CRI_SOCKET.to_owned(), value)])
}

/// Every minor version: flags n(etwork-plugin) r(untime) e(ndpoint), pause tag, i(nstance config) or
/// a(nnotation), o(rder kept), c(group driver).
#[test]
fn every_minor_version_has_its_facts() {
    let table = [
        ("1.20.2", "nre 3.2 a", true),
        ("1.21.14", "nre 3.4.1 a", false),
        ("1.22.17", "nre 3.5 ac", false),
        ("1.23.17", "nre 3.6 ac", false),
        ("1.24.17", "re 3.7 ac", false),
        ("1.25.16", "re 3.8 ac", false),
        ("1.26.15", "e 3.9 ac", false),
        ("1.27.16", "e 3.9 ac", false),
        ("1.28.15", "e 3.9 ac", false),
        ("1.29.14", "e 3.9 ac", false),
        ("1.30.14", "e 3.9 ac", false),
        ("1.31.14", "e 3.10 ac", false),
        ("1.32.11", "e 3.10 ac", false),
        ("1.32.12", "e 3.10 aoc", false),
        ("1.33.7", "e 3.10 ac", false),
        ("1.33.8", "e 3.10 aoc", false),
        ("1.34.3", " 3.10.1 ic", false),
        ("1.34.9", " 3.10.1 ioc", false),
        ("1.35.0", " - ic", false),
        ("1.35.1", " - ioc", false),
        ("1.36.0", " - ioc", false),
        ("1.37.0", " - ioc", false),
    ];
    for (text, expected, docker_only) in table {
        let features = KubeletFeatures::of(version(text), &BTreeMap::new());
        let letter = |set: bool, letter: &'static str| if set { letter } else { "" };
        let shown = format!(
            "{}{}{} {} {}{}{}{}",
            letter(features.network_plugin, "n"),
            letter(features.container_runtime, "r"),
            letter(features.container_runtime_endpoint, "e"),
            features.pause_tag.unwrap_or("-"),
            letter(features.instance_config, "i"),
            letter(features.cri_socket_annotation, "a"),
            letter(features.arguments_in_order, "o"),
            letter(features.default_cgroup_driver, "c"),
        );
        assert_eq!(shown, expected, "{text}");
        assert_eq!(features.pause_for_docker_only, docker_only, "{text}");
    }
}

#[test]
fn the_gate_of_the_cluster_decides_while_it_exists() {
    for (text, on, off) in [
        ("1.31.0", false, false),
        ("1.32.0", true, false),
        ("1.33.0", true, false),
        ("1.34.0", true, false),
        ("1.36.0", true, true),
    ] {
        for (value, expected) in [(true, on), (false, off)] {
            let features = KubeletFeatures::of(version(text), &gate(value));
            assert_eq!(features.instance_config, expected, "{text} {value}");
            assert_eq!(features.container_runtime_endpoint, !expected, "{text} {value}");
            assert_eq!(features.cri_socket_annotation, !expected, "{text} {value}");
        }
    }
}

#[test]
fn config_maps_are_named_by_the_cluster() {
    assert_eq!(kubelet_config_maps(version("1.20.2")), ["kubelet-config-1.20", "kubelet-config"]);
    assert_eq!(kubelet_config_maps(version("1.23.0")), ["kubelet-config-1.23", "kubelet-config"]);
    assert_eq!(kubelet_config_maps(version("1.36.2")), ["kubelet-config", "kubelet-config-1.36"]);
    assert_eq!(
        (image_repository(version("1.24.0")), image_repository(version("1.25.0"))),
        ("k8s.gcr.io", "registry.k8s.io")
    );
}

#[test]
fn patches_know_more_targets_with_every_version() {
    assert_eq!(patch_targets(version("1.24.0")).len(), 4);
    assert!(patch_targets(version("1.25.0")).contains(&"kubeletconfiguration"));
    assert!(patch_targets(version("1.31.0")).contains(&"corednsdeployment"));
    assert_eq!(patch_targets(version("1.37.0")).len(), 7);
}
