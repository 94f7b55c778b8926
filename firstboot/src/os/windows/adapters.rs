//! The adapters of the network, as the system lists them.

use std::ffi::c_void;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ptr::null;

use windows_sys::Win32::NetworkManagement::IpHelper::{
    GAA_FLAG_INCLUDE_GATEWAYS, GAA_FLAG_SKIP_ANYCAST, GAA_FLAG_SKIP_MULTICAST, GetAdaptersAddresses,
    IP_ADAPTER_ADDRESSES_LH,
};
use windows_sys::Win32::Networking::WinSock::{
    AF_INET, AF_INET6, AF_UNSPEC, SOCKADDR_IN, SOCKADDR_IN6, SOCKET_ADDRESS,
};

use super::super::Address;
use super::wide::pointed;

/// The status of an interface that is up (IfOperStatusUp), and the type of a loopback
/// (IF_TYPE_SOFTWARE_LOOPBACK).
const UP: i32 = 1;
const LOOPBACK: u32 = 24;
/// The first size of the list of adapters, as Microsoft recommends, and the largest.
const ADAPTERS: (u32, u32) = (16 << 10, 1 << 20);

/// An adapter of the network.
pub struct Adapter {
    /// `Ethernet`
    pub name: String,
    /// Its number.
    pub number: u32,
    /// Whether it is up.
    pub is_up: bool,
    /// Whether it reaches nothing but this machine.
    pub is_loopback: bool,
    /// The metrics of the interface, by family, where it has a default route.
    pub metrics: [Option<u32>; 2],
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// The name servers that it was given.
    pub name_servers: Vec<IpAddr>,
    /// The domain that it was given.
    pub suffix: String,
}

/// The addresses of this machine's interfaces that are up.
pub fn addresses() -> Vec<Address> {
    let up = adapters().into_iter().filter(|adapter| adapter.is_up);
    up.flat_map(|Adapter { name, addresses, .. }| {
        addresses.into_iter().map(move |ip| Address { interface: name.clone(), ip })
    })
    .collect()
}

/// Names and numbers of the interfaces, the loopback last.
pub fn interfaces() -> Vec<(String, u32)> {
    let mut all = adapters();
    all.sort_by_key(|adapter| adapter.is_loopback);
    all.into_iter().map(|adapter| (adapter.name, adapter.number)).collect()
}

/// The adapters, as the system lists them; none if it does not.
#[allow(unsafe_code)] // a list of the system that std does not offer
pub fn adapters() -> Vec<Adapter> {
    let flags = GAA_FLAG_INCLUDE_GATEWAYS | GAA_FLAG_SKIP_ANYCAST | GAA_FLAG_SKIP_MULTICAST;
    let mut length = ADAPTERS.0;
    let mut found = Vec::new();
    while length <= ADAPTERS.1 {
        // The list has pointers: the memory is aligned for them.
        let mut memory = vec![0_u64; (length as usize).div_ceil(8)];
        let first: *mut IP_ADAPTER_ADDRESSES_LH = memory.as_mut_ptr().cast();
        let mut needed = length;
        // SAFETY: the memory is as long as it says.
        match unsafe { GetAdaptersAddresses(u32::from(AF_UNSPEC), flags, null(), first, &raw mut needed) } {
            0 => {
                let mut next: *const IP_ADAPTER_ADDRESSES_LH = first;
                // SAFETY: the system linked the entries inside the memory, which lives until they are read.
                while let Some(entry) = unsafe { next.as_ref() } {
                    // SAFETY: the same.
                    found.push(unsafe { adapter(entry) });
                    next = entry.Next;
                }
                return found;
            }
            // ERROR_BUFFER_OVERFLOW: `needed` says how much it takes.
            111 if needed > length => length = needed,
            _ => return found,
        }
    }
    found
}

/// # Safety
/// The entry is one of the system's list, which is in memory.
#[allow(unsafe_code)]
unsafe fn adapter(entry: &IP_ADAPTER_ADDRESSES_LH) -> Adapter {
    let (mut addresses, mut name_servers, mut metrics) = (Vec::new(), Vec::new(), [None; 2]);
    // SAFETY: by the caller's promise, the pointers of the entry and what they lead to are in memory.
    unsafe {
        let mut next = entry.FirstUnicastAddress;
        while let Some(address) = next.as_ref() {
            addresses.extend(ip(&address.Address));
            next = address.Next;
        }
        let mut next = entry.FirstDnsServerAddress;
        while let Some(server) = next.as_ref() {
            name_servers.extend(ip(&server.Address));
            next = server.Next;
        }
        let mut next = entry.FirstGatewayAddress;
        while let Some(gateway) = next.as_ref() {
            match ip(&gateway.Address) {
                Some(IpAddr::V4(_)) => metrics[0] = Some(entry.Ipv4Metric),
                Some(IpAddr::V6(_)) => metrics[1] = Some(entry.Ipv6Metric),
                None => {}
            }
            next = gateway.Next;
        }
        Adapter {
            name: pointed(entry.FriendlyName),
            number: entry.Anonymous1.Anonymous.IfIndex.max(entry.Ipv6IfIndex),
            is_up: entry.OperStatus == UP,
            is_loopback: entry.IfType == LOOPBACK,
            metrics,
            addresses,
            name_servers,
            suffix: pointed(entry.DnsSuffix),
        }
    }
}

/// # Safety
/// The address is one of the system's list, which is in memory.
#[allow(unsafe_code)]
unsafe fn ip(address: &SOCKET_ADDRESS) -> Option<IpAddr> {
    let pointer = address.lpSockaddr;
    let length = usize::try_from(address.iSockaddrLength).ok()?;
    // SAFETY: the structure is as long as the list says, and the family says which one it is.
    unsafe {
        match pointer.as_ref()?.sa_family {
            AF_INET if length >= size_of::<SOCKADDR_IN>() => {
                let socket: SOCKADDR_IN = pointer.cast::<c_void>().cast::<SOCKADDR_IN>().read_unaligned();
                Some(Ipv4Addr::from(socket.sin_addr.S_un.S_addr.to_ne_bytes()).into())
            }
            AF_INET6 if length >= size_of::<SOCKADDR_IN6>() => {
                let socket: SOCKADDR_IN6 = pointer.cast::<c_void>().cast::<SOCKADDR_IN6>().read_unaligned();
                Some(Ipv6Addr::from(socket.sin6_addr.u.Byte).into())
            }
            _ => None,
        }
    }
}
