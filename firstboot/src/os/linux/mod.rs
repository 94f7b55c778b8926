//! Linux.

mod access;

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::sys::statvfs::statvfs;

pub use self::access::*;
use super::{Address, Owner, Space};

/// Opens a file to read it. Waits neither for the other end of a pipe nor for a disc in a drive.
pub fn open(path: &Path, follows_links: bool) -> io::Result<File> {
    let links = if follows_links { OFlag::empty() } else { OFlag::O_NOFOLLOW };
    OpenOptions::new().read(true).custom_flags((OFlag::O_NONBLOCK | links).bits()).open(path)
}

/// The owner and the mode of a file.
pub fn owner_and_mode(about: &Metadata) -> (Owner, u32) {
    ((about.uid(), about.gid()), about.mode() & 0o7777)
}

/// Whether others than the owner of a file may read it.
pub fn is_readable_by_others(about: &Metadata) -> bool {
    about.mode() & 0o044 != 0
}

/// The owner of the files that this process makes.
pub fn own() -> Owner {
    (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw())
}

/// Whether this process may change the machine.
pub fn is_privileged() -> bool {
    nix::unistd::geteuid().is_root()
}

/// The number of the network interface of this name.
pub fn interface_number(name: &str) -> Option<u32> {
    nix::net::if_::if_nametoindex(name).ok()
}

/// The addresses of this machine's interfaces that are up.
pub fn addresses() -> Vec<Address> {
    let all = nix::ifaddrs::getifaddrs().into_iter().flatten();
    all.filter(|entry| entry.flags.contains(nix::net::if_::InterfaceFlags::IFF_UP))
        .filter_map(|entry| {
            let address = entry.address?;
            let v4 = address.as_sockaddr_in().map(|socket| IpAddr::V4(socket.ip()));
            let ip = v4.or_else(|| address.as_sockaddr_in6().map(|socket| IpAddr::V6(socket.ip())))?;
            Some(Address { interface: entry.interface_name, ip })
        })
        .collect()
}

/// Names and numbers of the interfaces, the loopback last.
pub fn interfaces() -> Vec<(String, u32)> {
    let all = nix::net::if_::if_nameindex().ok();
    let named = all
        .iter()
        .flatten()
        .filter_map(|interface| Some((interface.name().to_str().ok()?.to_owned(), interface.index())));
    let (last, mut first): (Vec<_>, Vec<_>) = named.partition(|(name, _)| name == "lo");
    first.extend(last);
    first
}

/// The space of the file system that holds `folder`.
pub fn space(folder: &Path) -> Option<Space> {
    let about = statvfs(folder).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(about.fragment_size());
    Some(Space {
        free: bytes(about.blocks_available()),
        total: bytes(about.blocks()),
        free_inodes: about.files_available(),
        inodes: about.files(),
    })
}

/// Windows has drives.
pub fn system_drive() -> Option<String> {
    None
}

/// The root of this machine's file system.
pub fn root() -> PathBuf {
    PathBuf::from("/")
}
