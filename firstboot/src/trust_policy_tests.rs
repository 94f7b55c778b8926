use super::*;

const KEY: &str = "RWQFQZjdpXeedGYW2sULdrLFoj+uzx1LnNci8wxwTna0pIXbiQ8XEvCW";

#[test]
fn what_is_not_said_is_not_restricted() {
    let all = TrustPolicy::parse(b"{}").unwrap();
    assert_eq!(all, TrustPolicy::default());
    assert!(
        all.allows("ec2")
            && all.allows_config("file")
            && all.allows_secrets(TOKEN_URL)
            && all.sentences().is_empty()
    );
    let text = format!(
        r#"{{"platform":"ec2","facts":["ec2"],"config":["ec2","url"],"secrets":["token-url"],"signed-by":["{KEY}"],"rejoin":true,"guard":true}}"#
    );
    let policy = TrustPolicy::parse(text.as_bytes()).unwrap();
    assert!(
        policy.allows_facts("ec2")
            && !policy.allows_facts("gce")
            && policy.allows_config("url")
            && !policy.allows("nocloud")
    );
    assert!(policy.allows_secrets(TOKEN_URL) && !policy.allows_secrets("ec2"));
    let expected = [
        "the platform is ec2",
        "facts only from ec2",
        "config only from ec2, url",
        "secrets only from token-url",
        "config only signed by 749E77A5DD984105",
        "a machine that has joined follows any config that is accepted",
        "pods are kept from metadata addresses",
    ];
    assert_eq!(policy.sentences(), expected);
    let written: TrustPolicyFile = serde_json::from_str(&text).unwrap();
    assert_eq!(serde_json::to_string(&written).unwrap(), text, "the builder writes what the agent reads");
}

#[test]
fn the_builder_knows_every_platform_and_location() {
    let platforms: Vec<&str> = crate::platforms::ALL.iter().map(|platform| platform.name).collect();
    assert_eq!(platforms, contract::trust_policy::PLATFORMS);
    let locations: Vec<&str> = crate::locations::ALL.iter().map(|(name, _)| *name).collect();
    assert_eq!(locations, contract::trust_policy::LOCATIONS);
}

#[test]
fn what_is_not_known_is_an_error() {
    for (text, expected) in [
        ("", "no JSON object"),
        ("{", "EOF"),
        (r#"{"guard": true, "guard": false}"#, "duplicate field"),
        ("[]", "no JSON object"),
        (r#"{"platfrom": "ec2"}"#, "unknown field `platfrom`"),
        (r#"{"guard": "yes"}"#, "invalid type"),
        (r#"{"platform": "ec3"}"#, "platform: \"ec3\" is not known; did you mean \"ec2\"?"),
        (r#"{"platform": "file"}"#, "valid here"),
        (r#"{"facts": ["url"]}"#, "facts: \"url\" is not known"),
        (r#"{"config": ["ec2", "token-url"]}"#, "config: \"token-url\" is not known"),
        (r#"{"secrets": ["token-ulr"]}"#, "did you mean \"token-url\"?"),
        (r#"{"signed-by": []}"#, "no config could be used"),
        (r#"{"signed-by": ["RWabc"]}"#, "signed-by: the public key is not one of minisign's"),
    ] {
        let failure = TrustPolicy::parse(text.as_bytes()).unwrap_err();
        assert!(failure.kind == ErrorKind::Config && failure.message.contains(expected), "{text}: {failure}");
    }
    let many = format!(r#"{{"facts": [{}]}}"#, vec![r#""ec2""#; 65].join(","));
    assert!(TrustPolicy::parse(many.as_bytes()).is_err());
}

#[test]
fn an_unreadable_policy_is_an_error_and_none_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let root = Root::at(folder.path());
    assert_eq!(TrustPolicy::of(&root).unwrap(), TrustPolicy::default());
    let path = root.path("/usr/lib/kiln/policy.json");
    for bytes in [b"{".to_vec(), vec![b' '; 65537]] {
        files::write(&path, &bytes, 0o644).unwrap();
        let failure = TrustPolicy::of(&root).unwrap_err();
        assert!(
            failure.kind == ErrorKind::Config && failure.message.starts_with("the image's trust policy"),
            "{failure}"
        );
    }
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    assert!(TrustPolicy::of(&root).is_err());
}
