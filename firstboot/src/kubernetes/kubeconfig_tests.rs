use super::*;

const CLUSTER_INFO: &[u8] = include_bytes!("../../../tests/vectors/cluster-info.kubeconfig");
const CA: &[u8] = include_bytes!("../../../tests/vectors/ca.crt");

fn read(text: &str) -> Result<Kubeconfig, String> {
    parse(text.as_bytes(), Path::new("/etc/kubernetes"))
}

fn inline(text: &str) -> Material {
    Material::Inline(Secret::new(text.to_owned()))
}

#[test]
fn reads_the_cluster_info_of_a_real_cluster() {
    let config = parse(CLUSTER_INFO, Path::new("/")).unwrap();
    assert_eq!(config.authorities, Some(inline(std::str::from_utf8(CA).unwrap())));
    assert!(config.user.is_none() && config.server_name.is_none());
    assert!(config.server.to_string().starts_with("https://"));
}

#[test]
fn takes_the_current_contexts_cluster_and_user() {
    let text = r#"{"kind": "Config", "apiVersion": "v1", "current-context": "b@two", "preferences": {}, "clusters": [
        {"name": "one", "cluster": {"server": "https://one:1"}},
        {"name": "two", "cluster": {"server": "https://two:2", "certificate-authority": "pki/ca.crt", "tls-server-name": "api"}}],
        "contexts": [{"name": "a@one", "context": {"cluster": "one", "user": "a"}}, {"name": "b@two", "context": {"cluster": "two", "user": "b"}}],
        "users": [{"name": "a", "user": {"token": "x"}}, {"name": "b", "user": USER}]}"#;
    for (user, expected) in [
        ("null", None),
        ("{}", None),
        (r#"{"token": "t"}"#, Some(User::Token(inline("t")))),
        (r#"{"tokenFile": "token"}"#, Some(User::Token(Material::File("/etc/kubernetes/token".into())))),
        (
            r#"{"client-certificate": "/a.crt", "client-key-data": "a2V5", "token": "t"}"#,
            Some(User::Certificate { certificate: Material::File("/a.crt".into()), key: inline("key") }),
        ),
        (r#"{"exec": {"command": "aws"}}"#, Some(User::Unsupported("exec"))),
        (r#"{"auth-provider": {"name": "gcp"}}"#, Some(User::Unsupported("auth-provider"))),
        (r#"{"username": "u", "password": "p"}"#, Some(User::Unsupported("username and password"))),
    ] {
        let config = read(&text.replace("USER", user)).unwrap();
        assert_eq!(config.user, expected, "{user}");
        assert_eq!(config.server.to_string(), "https://two:2");
        assert_eq!(config.server_name.as_deref(), Some("api"));
        assert_eq!(config.authorities, Some(Material::File("/etc/kubernetes/pki/ca.crt".into())));
    }
}

#[test]
fn refuses_without_repeating_what_the_file_holds() {
    let cluster = |fields: &str| format!("clusters:\n- cluster: {{{fields}}}\n  name: ''\n");
    for (text, why) in [
        ("kind: Secret".to_owned(), "its kind is not Config"),
        (String::new(), "neither a cluster without a name nor one of a current-context"),
        ("clusters: null\ncontexts: null\nusers: null\ncurrent-context: ''".to_owned(), "neither a cluster"),
        ("clusters: [{name: '', cluster: null}]".to_owned(), "is empty"),
        (cluster("server: 'http://a:1'"), "does not begin with https://"),
        (cluster("server: 'https://a:1', insecure-skip-tls-verify: true"), "insecure-skip-tls-verify"),
        (cluster("server: 'https://a:1', proxy-url: 'http://p'"), "proxy-url"),
        (
            cluster("server: 'https://a:1', certificate-authority-data: 'canary!'"),
            "certificate-authority-data of the kubeconfig is not base64",
        ),
        ("users:\n- name: a\n  user: canary".to_owned(), "line 3, column 9"),
        ("users: canary".to_owned(), "line 1, column 8"),
        ("a: [canary".to_owned(), "no kubeconfig"),
    ] {
        let failure = read(&text).unwrap_err();
        assert!(failure.contains(why) && !failure.contains("canary"), "{text}: {failure}");
    }
    assert!(parse(&vec![b' '; LONGEST + 1], Path::new("/")).unwrap_err().contains("longer than"));
}

fn entry(server: &Server, preferences: bool) -> ClusterEntry<'_> {
    ClusterEntry { server, authorities: CA, server_name: None, preferences }
}

#[test]
fn kubelet_conf_is_the_kubelets_own_byte_for_byte() {
    let server: Server = "https://10.99.0.1:6443".parse().unwrap();
    let newest = include_str!("../../../tests/vectors/v1.36.2/join/01-minimal/kubelet.conf");
    let older = include_str!("../../../tests/vectors/v1.31.14/join/01-minimal/kubelet.conf");
    for (golden, preferences) in [(newest, false), (older, true)] {
        let written =
            kubelet(&entry(&server, preferences), "/var/lib/kubelet/pki/kubelet-client-current.pem");
        assert_eq!(written, golden.replace("<ca>", &STANDARD.encode(CA)));
    }
}

#[test]
fn bootstrap_kubelet_conf_is_what_kubeadm_would_write() {
    let server: Server = "https://api.example.com:6443".parse().unwrap();
    let token = Secret::new("123456.0123456789012345".to_owned());
    let written = bootstrap(&entry(&server, false), "lab", BootstrapUser::Token(&token));
    let expected = format!(
        "apiVersion: v1\nclusters:\n- cluster:\n    certificate-authority-data: {}\n    server: https://api.example.com:6443\n  name: lab\n\
         contexts:\n- context:\n    cluster: lab\n    user: tls-bootstrap-token-user\n  name: tls-bootstrap-token-user@lab\n\
         current-context: tls-bootstrap-token-user@lab\nkind: Config\nusers:\n- name: tls-bootstrap-token-user\n  user:\n    \
         token: 123456.0123456789012345\n",
        STANDARD.encode(CA)
    );
    // A token with only digits looks like a number. It must be quoted, or the kubelet reads another token.
    assert_eq!(written.reveal().replace(['\'', '"'], ""), expected);
    let again = parse(written.reveal().as_bytes(), Path::new("/")).unwrap();
    assert_eq!(again.user, Some(User::Token(inline("123456.0123456789012345"))));
    let (certificate, key) = (Secret::new("cert".to_owned()), Secret::new("key".to_owned()));
    let written = bootstrap(&entry(&server, true), "yes", BootstrapUser::Certificate(&certificate, &key));
    let again = parse(written.reveal().as_bytes(), Path::new("/")).unwrap();
    assert_eq!(again.user, Some(User::Certificate { certificate: inline("cert"), key: inline("key") }));
}

#[test]
fn a_byte_order_mark_and_wrapped_base64_are_read_as_by_go() {
    let text = "\u{feff}clusters:\n- name: ''\n  cluster:\n    server: https://a:1\n    certificate-authority-data: |\n      a2V\n      5\n";
    assert_eq!(read(text).unwrap().authorities, Some(inline("key")));
}
