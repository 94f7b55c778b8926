//! Decides whether pods are kept from the sources of metadata: by the image's trust policy, else the node
//! config, else the default, which is yes.
//!
//! Addresses of platforms are known at once. Servers that only this machine names (a seed's, a virtual
//! router) are known when the network works, which is after the metadata was read.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use super::Session;
use crate::config::model::{Discovery, NodeConfig};
use crate::error::Result;
use crate::evidence::Evidence;
use crate::guard;
use crate::locations;
use crate::net::resolve;
use crate::net::{Deadline, Endpoint, Network};
use crate::platforms::detect::in_firmware;
use crate::platforms::{ALL, Guarded, Platform};

/// Time limit for resolving the name of one server.
const RESOLVE_LIMIT: Duration = Duration::from_secs(10);

/// At each boot, before any data is read and any pod starts: guards the addresses of the services of the
/// platform, and of one that the firmware names where another is pinned: it serves pods all the same. If the
/// policy requires the guard, it fails closed: all addresses that can only be metadata services are guarded,
/// whatever the platform is or is said to be.
pub(super) fn at_boot(session: &Session, platform: Option<&'static Platform>) -> Result<()> {
    if !is_on(session)? {
        return Ok(());
    }
    let is_required = session.policy()?.guard == Some(true);
    let addresses = known_addresses(session.evidence(), platform, is_required);
    judged(session, guard::apply(&addresses, guard::OPEN))
}

fn known_addresses(
    evidence: &Evidence,
    platform: Option<&'static Platform>,
    is_required: bool,
) -> Vec<IpAddr> {
    let own = serving(evidence, platform)
        .into_iter()
        .flat_map(|platform| guard::addresses(fixed(platform)));
    let all = ALL
        .iter()
        .filter(|_| is_required)
        .flat_map(|platform| guard::unmistakable(fixed(platform)));
    own.chain(all).collect::<BTreeSet<_>>().into_iter().collect()
}

/// The machine's platform, and others that its firmware names.
fn serving(evidence: &Evidence, platform: Option<&'static Platform>) -> Vec<&'static Platform> {
    let is_other = |other: &&Platform| platform.is_none_or(|platform| platform.name != other.name);
    platform.into_iter().chain(in_firmware(evidence).filter(is_other)).collect()
}

/// Guards the servers that this machine's metadata or config comes from, once they can be named. `config` is
/// the node config, if there is any.
pub(super) fn servers(
    session: &Session,
    platform: Option<&'static Platform>,
    config: Option<&NodeConfig>,
) -> Result<()> {
    if !is_on(session)? {
        return Ok(());
    }
    let named = match named(session, platform) {
        Err(failure) => return judged(session, Err(failure)),
        Ok(named) => named,
    };
    named.iter().try_for_each(|server| judged(session, guard_server(session, server, config)))
}

/// Follows the node config if the policy does not decide.
pub(super) fn by_config(
    session: &Session,
    config: &NodeConfig,
    platform: Option<&'static Platform>,
) -> Result<()> {
    let (root, wish) = (session.root, config.agent.guard_metadata);
    if !root.is_machine() || config.join.dry_run {
        return Ok(());
    }
    if let Some(by_policy) = session.policy()?.guard {
        if wish.is_some_and(|wish| wish != by_policy) {
            session.print("guardMetadata does not count: the image's policy says whether pods are kept from metadata services");
        }
        return Ok(());
    }
    let (is_off, was_off) = (wish == Some(false), guard::is_off(root));
    if is_off != was_off {
        guard::remember(root, is_off)?;
    }
    if is_off {
        if guard::remove()? {
            session.print("pods may reach metadata services: guardMetadata is false");
        }
    } else if was_off {
        at_boot(session, platform)?;
        servers(session, platform, Some(config))?;
    }
    Ok(())
}

fn is_on(session: &Session) -> Result<bool> {
    let root = session.root;
    Ok(root.is_machine() && session.policy()?.guard.unwrap_or_else(|| !guard::is_off(root)))
}

/// A failure is an error only if the policy requires the guard.
fn judged(session: &Session, guarded: Result<()>) -> Result<()> {
    match guarded {
        Err(failure) if session.policy()?.guard == Some(true) => {
            Err(failure.doing("the image's trust policy requires the metadata guard"))
        }
        Err(failure) => {
            session.warn(failure.doing("the metadata guard"));
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

fn fixed(platform: &Platform) -> &'static [&'static str] {
    match platform.guarded {
        Guarded::Addresses(addresses) => addresses,
        Guarded::Nothing | Guarded::Servers(_) => &[],
    }
}

fn named(session: &Session, platform: Option<&'static Platform>) -> Result<Vec<Endpoint>> {
    let evidence = session.evidence();
    let mut named = Vec::new();
    for platform in serving(evidence, platform) {
        if let Guarded::Servers(servers) = platform.guarded {
            named.extend(servers(evidence)?);
        }
    }
    named.extend(locations::url::server(session.root, &evidence.command_line)?);
    Ok(named)
}

fn guard_server(session: &Session, server: &Endpoint, config: Option<&NodeConfig>) -> Result<()> {
    let network = Network::new(session.root.clone());
    let deadline = Deadline::after(RESOLVE_LIMIT);
    let found = resolve::addresses(&network, &server.host, server.port, deadline)?;
    let addresses = guard::reachable(found.iter().map(|address| address.ip()));
    guard::apply(&addresses, &open_ports(server, config))
}

/// Pods need the API server, which may be on the same machine, but not the port that gives the secrets.
fn open_ports(server: &Endpoint, config: Option<&NodeConfig>) -> Vec<u16> {
    let endpoints = match config.map(|config| &config.join.discovery) {
        Some(Discovery::Token { endpoints, .. } | Discovery::RequestedToken { endpoints, .. }) => endpoints,
        Some(Discovery::File(_) | Discovery::Url(_)) | None => &Vec::new(),
    };
    let mut open = guard::OPEN_AT_SERVERS.to_vec();
    open.extend(endpoints.iter().map(|endpoint| endpoint.port));
    open.sort_unstable();
    open.dedup();
    open.retain(|port| *port != server.port);
    open
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{HostDefaults, parse};
    use crate::host::files;
    use crate::host::root::Root;
    use crate::run::Console;

    #[test]
    fn pods_reach_the_api_server_beside_a_seed_and_not_the_seed() {
        let join = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: JoinConfiguration\ndiscovery: {bootstrapToken: {apiServerEndpoint: 'a:444', token: 'abcdef.0123456789abcdef', unsafeSkipCAVerification: true}}\n";
        let config = parse(join.as_bytes(), &HostDefaults { hostname: "n".to_owned() }).unwrap();
        let at = |port| Endpoint { host: "192.0.2.1".to_owned(), port };
        assert_eq!(open_ports(&at(80), None), [53, 6443]);
        assert_eq!(open_ports(&at(80), Some(&config)), [53, 444, 6443]);
        assert_eq!(open_ports(&at(444), Some(&config)), [53, 6443]);
    }

    #[test]
    fn a_required_guard_never_guards_nothing() {
        let metadata: IpAddr = "169.254.169.254".parse().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let evidence = Evidence::of(&Root::at(folder.path()));
        let local = ALL.iter().filter(|platform| fixed(platform).is_empty()).map(|platform| Some(*platform));
        for platform in local.chain([None]) {
            assert!(known_addresses(&evidence, platform, true).contains(&metadata), "{platform:?}");
            assert!(known_addresses(&evidence, platform, false).is_empty(), "{platform:?}");
        }
    }

    #[test]
    fn a_pin_does_not_open_the_service_that_the_firmware_names() {
        for (field, text, expected) in [
            ("sys_vendor", "Hetzner", "169.254.169.254"),
            ("sys_vendor", "QEMU", ""),
            ("product_name", "CloudStack KVM Hypervisor", "10.7.1.1:80"),
            ("product_serial", "ds=nocloud;s=https://192.0.2.7/", "192.0.2.7:443"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let root = Root::at(folder.path());
            let dmi = root.path(format!("/sys/class/dmi/id/{field}"));
            let lease = root.path("/run/systemd/netif/leases/2");
            files::write(&dmi, text.as_bytes(), files::PUBLIC).unwrap();
            files::write(&lease, b"SERVER_ADDRESS=10.7.1.1\n", files::PUBLIC).unwrap();
            files::write(&root.path("/proc/cmdline"), b"firstboot.platform=none", files::PUBLIC).unwrap();
            let session = Session::new(&root, Console { json: false });
            let platform = session.detect().unwrap().platform;
            assert!(platform.is_none());
            let addresses = known_addresses(session.evidence(), platform, false);
            let found = addresses.iter().map(ToString::to_string);
            let servers = named(&session, platform).unwrap();
            let found: String = found.chain(servers.iter().map(ToString::to_string)).collect();
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn the_server_that_is_read_from_is_the_one_that_is_guarded() {
        const LEASE: (&str, &str) = ("/run/systemd/netif/leases/2", "SERVER_ADDRESS=10.7.1.1\n");
        const CMDLINE: &str = "/proc/cmdline";
        const PRESEED: &str =
            "cloud-config-url=http://192.0.2.9:5248/MAAS/metadata/latest/by-id/a/?op=get_preseed";
        for (platform, (path, text), expected) in [
            ("cloudstack", LEASE, Some("10.7.1.1:80")),
            ("cloudstack", ("/x", ""), None),
            ("equinix", ("/x", ""), Some("metadata.platformequinix.com:443")),
            ("nocloud", (CMDLINE, "ds=nocloud;s=HTTPS://seeds.example:8443/a/"), Some("seeds.example:8443")),
            ("nocloud", (CMDLINE, "ds=nocloud;s=http://192.0.2.7/a"), Some("192.0.2.7:80")),
            ("proxmox", (CMDLINE, "ds=nocloud;s=http://192.0.2.7/a"), Some("192.0.2.7:80")),
            ("nocloud", (CMDLINE, "ds=nocloud"), Some("")),
            ("tinkerbell", (CMDLINE, "firstboot.tinkerbell=http://192.0.2.8:7080"), Some("192.0.2.8:7080")),
            ("tinkerbell", (CMDLINE, "quiet"), None),
            ("maas", (CMDLINE, PRESEED), Some("192.0.2.9:5248")),
            ("maas", (CMDLINE, "quiet"), None),
            ("metal", (CMDLINE, "firstboot.config=https://boot.example/x?y"), Some("boot.example:443")),
            ("metal", (CMDLINE, "firstboot.config=https://u:canary@boot.example/x"), None),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let root = Root::at(folder.path());
            files::write(&root.path(path), text.as_bytes(), files::PUBLIC).unwrap();
            let session = Session::new(&root, Console { json: false });
            let platform = ALL.iter().copied().find(|each| each.name == platform);
            let found = named(&session, platform);
            let words =
                found.as_ref().ok().map(|all| all.iter().map(ToString::to_string).collect::<String>());
            assert_eq!(words.as_deref(), expected, "{text}: {found:?}");
            assert!(!format!("{found:?}").contains("canary"), "{found:?}");
        }
    }

    #[test]
    fn every_row_of_the_page_is_what_is_guarded() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metadata.md");
        let page = std::fs::read_to_string(page).unwrap();
        let guard = page.split("## The metadata guard").nth(1).unwrap().split("\n## ").next().unwrap();
        for platform in ALL {
            let name = format!("`{}`", platform.name);
            let row = guard.lines().find(|line| line.starts_with('|') && line.contains(&name));
            let row = row.unwrap_or_else(|| panic!("{name} has no row"));
            let expected = match platform.guarded {
                Guarded::Nothing => "nothing".to_owned(),
                Guarded::Servers(_) => "server".to_owned(),
                Guarded::Addresses(all) => {
                    let all: Vec<String> =
                        guard::addresses(all).iter().map(|address| format!("`{address}`")).collect();
                    format!("| {} |", all.join(", "))
                }
            };
            assert!(row.contains(&expected), "{name}: {row} has no {expected}");
        }
    }
}
