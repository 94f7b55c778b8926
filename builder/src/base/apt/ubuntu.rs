//! Ubuntu: a row of the engine.

use super::{Archives, Distribution, Keys, MirrorOption, Security, SnapshotService, Unwanted};
use crate::assembly::Packages;
use crate::base::BaseOption;

/// Ubuntu, from its packages.
pub const UBUNTU: Distribution = Distribution {
    name: "ubuntu",
    title: "Ubuntu",
    suites: &["jammy", "noble", "resolute"],
    ecosystems: &[
        ("jammy", "Ubuntu:22.04:LTS"),
        ("noble", "Ubuntu:24.04:LTS"),
        ("resolute", "Ubuntu:26.04:LTS"),
    ],
    keys: Keys {
        files: &["/usr/share/keyrings/ubuntu-archive-keyring.gpg"],
        package: "ubuntu-keyring",
        // "Ubuntu Archive Automatic Signing Key" of 2012 and of 2018.
        fingerprints: &[
            "790BC7277767219C42C86F933B4FE6ACC0B21F32",
            "F6ECB3762474EDA9D21B7022871920D1991BC93C",
        ],
        option: Some("ubuntu-keyring"),
    },
    archives: Archives {
        main: "ubuntu",
        ports: Some("ubuntu-ports"),
        security: Security::Within,
        // Layers need universe: systemd-boot-efi is there.
        components: "main universe",
        moving_suites: &[],
    },
    // jammy has no usr-is-merged. Its usrmerge needs no more than perl-base, and finds nothing to do.
    unwanted: &[Unwanted { package: "usrmerge", except: &["jammy"] }],
    packages: Packages {
        kernel: "linux-image-virtual",
        full_kernel: "linux-image-generic",
        boot_loader: "systemd-boot-efi",
    },
    options: &[
        BaseOption {
            name: "ubuntu-mirror",
            value: "URL[,SECURITY-URL]",
            help: "Ubuntu mirror [default: $KILN_UBUNTU_MIRROR, else the one in this machine's apt configuration]",
        },
        BaseOption {
            name: "ubuntu-snapshots",
            value: "URL",
            help: "Ubuntu's snapshot service, for packages that left the mirrors \
                   [default: $KILN_UBUNTU_SNAPSHOTS, else https://snapshot.ubuntu.com]",
        },
        BaseOption {
            name: "ubuntu-keyring",
            value: "FILE",
            help: "Trust the keys in FILE for Ubuntu's package lists, instead of Ubuntu's own of 2012 and 2018",
        },
    ],
    mirror: MirrorOption { option: "ubuntu-mirror", variable: "KILN_UBUNTU_MIRROR" },
    // https://snapshot.ubuntu.com: any second since March 2023.
    snapshots: SnapshotService {
        option: "ubuntu-snapshots",
        variable: "KILN_UBUNTU_SNAPSHOTS",
        url: "https://snapshot.ubuntu.com",
        main: "ubuntu",
        security: "ubuntu",
    },
};
