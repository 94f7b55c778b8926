//! Files for systemd-sysupdate(8), by which a host fetches newer extensions: one for each, in a folder of its
//! own, so that each is updated alone (sysupdate.d(5)).

/// Where the file of the extension `name` is, on a host below `/etc`.
pub(super) fn file(name: &str) -> String {
    format!("sysupdate.{name}.d/{name}.conf")
}

/// The file's text. With `kubernetes`, the extension has the version of Kubernetes and keeps to its minor
/// version: a node gets a new one only when its cluster has it.
///
/// `Verify=` is about a signature of the list of digests by OpenPGP; the digests are compared in any case.
pub(super) fn text(name: &str, url: &str, kubernetes: Option<&str>) -> String {
    let series = kubernetes.and_then(minor).map(|minor| format!("{minor}.")).unwrap_or_default();
    let pattern = format!("{name}-{series}@v-%a.raw");
    format!(
        "# systemd-sysupdate does not make the folder of the link: mkdir -p /etc/extensions\n\
         [Transfer]\nVerify=no\n\n\
         [Source]\nType=url-file\nPath={url}\nMatchPattern={pattern}\n\n\
         [Target]\nType=regular-file\nPath=/opt/extensions/{name}\nMatchPattern={pattern}\n\
         CurrentSymlink=/etc/extensions/{name}.raw\nInstancesMax=3\nMode=0644\n"
    )
}

/// `1.36` of `1.36.4`.
fn minor(version: &str) -> Option<String> {
    let mut numbers = version.split('.');
    Some(format!("{}.{}", numbers.next()?, numbers.next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubernetes_keeps_to_its_minor_version() {
        let kubelet = text("kubelet", "https://hub/x", Some("1.36.4"));
        assert_eq!(kubelet.matches("MatchPattern=kubelet-1.36.@v-%a.raw\n").count(), 2, "{kubelet}");
        let runtime = text("containerd", "https://hub/x", None);
        assert!(runtime.contains("\nMatchPattern=containerd-@v-%a.raw\n"), "{runtime}");
        assert!(runtime.contains("\nPath=https://hub/x\n"), "{runtime}");
        assert_eq!(file("kubelet"), "sysupdate.kubelet.d/kubelet.conf");
    }
}
