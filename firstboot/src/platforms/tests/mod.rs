mod service_cases;
mod services;

use super::{ALL, Guarded, Platform};
use crate::evidence::Sign;

#[test]
fn every_platform_has_a_name_of_its_own_and_addresses_that_are_addresses() {
    let mut names: Vec<&str> = ALL.iter().map(|platform| platform.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), ALL.len());
    for platform in ALL {
        if let Guarded::Addresses(addresses) = platform.guarded {
            assert!(
                addresses.iter().all(|address| address.parse::<std::net::IpAddr>().is_ok()),
                "{}",
                platform.name
            );
        }
        assert!(
            !platform.signs.is_empty() || platform.name == "proxmox",
            "{} is never recognised",
            platform.name
        );
        assert!(!platform.deadline.is_zero(), "{}", platform.name);
    }
}

#[test]
fn pods_are_kept_from_every_service_that_proves_an_identity() {
    for platform in ALL {
        let addresses = platform.attestation.iter().flat_map(|attestation| attestation.addresses);
        for address in addresses {
            let is_guarded = matches!(platform.guarded, Guarded::Addresses(all) if all.contains(address));
            assert!(is_guarded, "{}: {address}", platform.name);
        }
    }
}

#[test]
fn the_page_has_every_form_of_a_provider_id() {
    let page = include_str!("../../../../docs/platforms.md");
    let table = page.split("## Provider-ids").nth(1).unwrap();
    for platform in ALL {
        let Some(template) = platform.provider_id else { continue };
        let row = format!("| `{}` | `{}", platform.name, template.split("${").next().unwrap());
        assert!(table.lines().any(|line| line.starts_with(&row)), "{row}");
    }
}

#[test]
fn a_medium_alone_gives_no_provider_id() {
    let by_label_alone = |platform: &&&Platform| {
        !platform.signs.is_empty() && platform.signs.iter().all(|sign| matches!(sign, Sign::Label(_)))
    };
    let names: Vec<&str> = ALL.iter().filter(by_label_alone).map(|platform| platform.name).collect();
    assert_eq!(names, ["config-drive"]);
    assert!(ALL.iter().filter(by_label_alone).all(|platform| platform.provider_id.is_none()));
}
