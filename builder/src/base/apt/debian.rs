//! Debian: a row of the engine.

use super::{Archives, Distribution, Keys, MirrorOption, Security, Unwanted};
use crate::assembly::Packages;
use crate::base::BaseOption;

/// Debian, from its packages.
pub const DEBIAN: Distribution = Distribution {
    name: "debian",
    title: "Debian",
    suites: &["bookworm", "trixie"],
    keys: Keys {
        // The second is the name from Debian 13 on.
        files: &[
            "/usr/share/keyrings/debian-archive-keyring.gpg",
            "/usr/share/keyrings/debian-archive-keyring.pgp",
        ],
        package: "debian-archive-keyring",
        fingerprints: &[],
        option: None,
    },
    archives: Archives {
        main: "debian",
        ports: None,
        // The security archive has all its files below this folder, so that both can be served as one.
        security: Security::Own { name: "debian-security", paths: "pool/updates/" },
        components: "main",
        moving_suites: &["sid", "unstable", "experimental"],
    },
    // usrmerge converts a root whose /usr is split and brings Perl for that; Kiln's is never split, and
    // usr-is-merged satisfies the same dependency.
    unwanted: &[Unwanted { package: "usrmerge", except: &[] }],
    packages: Packages {
        kernel: "linux-image-cloud-amd64",
        full_kernel: "linux-image-amd64",
        boot_loader: "systemd-boot-efi",
    },
    options: &[BaseOption {
        name: "debian-mirror",
        value: "URL[,SECURITY-URL]",
        help: "Debian mirror [default: $KILN_DEBIAN_MIRROR, else the one in this machine's apt configuration]",
    }],
    mirror: MirrorOption { option: "debian-mirror", variable: "KILN_DEBIAN_MIRROR" },
};
