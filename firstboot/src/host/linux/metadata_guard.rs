//! Routing rules that keep pods from metadata services, set with iproute2 (ip-rule(8)). Forwarded packets,
//! which come from pods, have no route to the service; the machine's own packets do.
//!
//! ```text
//! 40: iif lo to ADDRESS goto 42                     the machine's own packets pass
//! 40: to ADDRESS ipproto tcp dport 53 goto 42       DNS passes, and other open ports
//! 40: to ADDRESS ipproto udp goto 42                and what no metadata service speaks
//! 41: to ADDRESS prohibit                           all others end here
//! 42: nop
//! ```
//!
//! No rule that prohibits names a port or a protocol: the kernel knows no port of a fragment, and no protocol
//! behind more than 15 IPv6 extension headers, so that such a rule would let these packets pass. Port 53 and
//! UDP stay open, because on some platforms the same address is the name server that the cluster's DNS asks.
//! Protocols are numbers, because an image may have no `/etc/protocols`. Pods in the host network are not
//! blocked. The rules have `protocol kernel`, because systemd-networkd removes other rules that it did not
//! make.

use std::net::IpAddr;
use std::time::Duration;

use super::command;
use crate::error::{ErrorKind, Failure, Result};
use crate::paths;

/// The priority: before the rules of all usual networks, after the table `local`.
const PASSING: &str = "40";
const PROHIBITED: &str = "41";
const END: &str = "42";
/// Time limit of a call, which usually takes milliseconds.
const LIMIT: Duration = Duration::from_secs(10);
/// Limit on the rules at one priority.
const MOST: usize = 256;
const TCP: u8 = 6;

/// Adds the missing rules for `addresses`, where the TCP ports in `open` can still be reached.
pub fn apply(addresses: &[IpAddr], open: &[u16]) -> Result<()> {
    for family in ["-4", "-6"] {
        let of_family = addresses.iter().filter(|address| is_in(family, address));
        let mut rules = of_family.flat_map(|address| rules(address, open)).peekable();
        if rules.peek().is_none() || !has(family) {
            continue;
        }
        add(family, &words(END, "nop"))?;
        rules.try_for_each(|rule| add(family, &rule))?;
    }
    Ok(())
}

/// Removes all rules; returns whether there were any.
pub fn remove() -> Result<bool> {
    let mut found = false;
    for family in ["-4", "-6"].into_iter().filter(|family| has(family)) {
        for priority in [PASSING, PROHIBITED, END] {
            for _ in 0..MOST {
                let output = command::run(
                    "ip",
                    &[family, "rule", "del", "priority", priority, "protocol", "kernel"],
                    LIMIT,
                )?;
                if !output.success() {
                    break;
                }
                found = true;
            }
        }
    }
    Ok(found)
}

fn rules(address: &IpAddr, open: &[u16]) -> Vec<Vec<String>> {
    let mut rules = vec![words(PASSING, &format!("iif lo to {address} goto {END}"))];
    let pass = |what: String| words(PASSING, &format!("to {address} ipproto {what} goto {END}"));
    rules.extend(open.iter().map(|port| pass(format!("{TCP} dport {port}"))));
    rules.extend(harmless(address).iter().map(|protocol| pass(protocol.to_string())));
    rules.push(words(PROHIBITED, &format!("to {address} prohibit")));
    rules
}

/// The protocols in which no metadata service answers: UDP, and ICMP of the address's family.
fn harmless(address: &IpAddr) -> [u8; 2] {
    match address {
        IpAddr::V4(_) => [17, 1],
        IpAddr::V6(_) => [17, 58],
    }
}

fn words(priority: &str, rule: &str) -> Vec<String> {
    format!("rule add priority {priority} protocol kernel {rule}")
        .split(' ')
        .map(str::to_owned)
        .collect()
}

fn add(family: &str, rule: &[String]) -> Result<()> {
    let arguments: Vec<&str> = std::iter::once(family).chain(rule.iter().map(String::as_str)).collect();
    let output = command::run("ip", &arguments, LIMIT)?;
    if output.success() || output.stderr.contains("File exists") {
        return Ok(());
    }
    Err(Failure::new(
        ErrorKind::Host,
        format!("keeping pods from metadata services: \"ip {}\": {}", arguments.join(" "), output.reason()),
    )
    .help(
        "it needs iproute2 and Linux 4.17; guardMetadata: false in the FirstbootConfiguration does without",
    ))
}

fn is_in(family: &str, address: &IpAddr) -> bool {
    address.is_ipv4() == (family == "-4")
}

/// A kernel without IPv6 has no rules for it, and no IPv6 packets.
fn has(family: &str) -> bool {
    family == "-4" || std::path::Path::new(paths::IF_INET6).exists()
}
