//! The ConfigMaps that a join reads: cluster-info, kubeadm-config, kubelet-config; and the patches that meet
//! them.
#![no_main]

use firstboot::join::cluster::{ClusterConfiguration, ConfigMap, parse_kubelet_configuration};
use firstboot::join::discovery::open_cluster_info;
use firstboot::join::kubelet_config::healthz;
use firstboot::kubernetes::token::Token;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let token: Token = "abcdef.0123456789abcdef".parse().expect("it is a token");
    if let Ok(config_map) = serde_json::from_str::<ConfigMap>(text) {
        assert!(open_cluster_info(&config_map, &token, None).is_err());
    }
    if let Ok(configuration) = ClusterConfiguration::parse(text) {
        assert!(!configuration.cluster_name.is_empty());
    }
    if let Ok(value) = parse_kubelet_configuration(text) {
        let _ = healthz(&value);
    }
});
