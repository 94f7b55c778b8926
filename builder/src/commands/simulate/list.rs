//! `kiln simulate --list`

use kiln_simulator::fault::{Ends, Needs, Number, SCRIPTS};
use kiln_simulator::platform;
use serde::Serialize;

use super::{Terminal, failed};
use crate::error::Result;

#[derive(Serialize)]
struct List {
    platforms: Vec<Platform>,
    faults: Vec<Script>,
}

#[derive(Serialize)]
struct Platform {
    name: &'static str,
    title: String,
    variables: std::collections::BTreeMap<String, String>,
    addresses: Vec<String>,
    drive: Option<String>,
    user_data_limit: Option<usize>,
}

#[derive(Serialize)]
struct Script {
    name: &'static str,
    summary: &'static str,
    /// What the number means, and the usual one.
    number: Option<&'static str>,
    usually: Option<u32>,
    /// What a client must do when the fault passes, and when it lasts.
    passing: Ends,
    lasting: Ends,
    needs: Option<&'static str>,
}

/// Prints the platforms and the faults.
pub fn show(terminal: &Terminal) -> Result<()> {
    let platforms = platform::names().map(platform).collect::<Result<_>>()?;
    terminal.show(&List { platforms, faults: SCRIPTS.iter().map(script).collect() }, text)
}

fn platform(name: &'static str) -> Result<Platform> {
    let platform = platform::named(name).map_err(failed)?;
    let services = platform.services.iter();
    let addresses = services.flat_map(|service| {
        service.addresses.iter().map(|address| match &address.device {
            Some(device) => format!("{}%{device}", address.ip),
            None => address.ip.to_string(),
        })
    });
    Ok(Platform {
        name,
        addresses: addresses.collect(),
        drive: platform.drive.map(|drive| drive.label),
        title: platform.title,
        variables: platform.variables,
        user_data_limit: platform.user_data_limit,
    })
}

fn script(script: &kiln_simulator::fault::Script) -> Script {
    let (number, usually) = match script.number {
        Number::None => (None, None),
        Number::Always => (Some("requests"), None),
        Number::Requests(count) => (Some("requests"), Some(count)),
        Number::Seconds(count) => (Some("seconds"), Some(count)),
    };
    let needs = match script.needs {
        Needs::Nothing => None,
        Needs::Tokens => Some("tokens"),
        Needs::Json => Some("json"),
        Needs::Namespace => Some("command"),
    };
    Script {
        name: script.name,
        summary: script.summary,
        number,
        usually,
        passing: script.passing,
        lasting: script.lasting,
        needs,
    }
}

fn text(list: &List) -> String {
    let mut lines = vec!["platforms".to_owned()];
    for platform in &list.platforms {
        let place = match &platform.drive {
            Some(label) => format!("a drive with the label {label}"),
            None => platform.addresses.join(", "),
        };
        lines.push(format!("  {:<16} {:<40} {place}", platform.name, platform.title));
        let names: Vec<&str> = platform.variables.keys().map(String::as_str).collect();
        lines.push(format!("  {:<16} --set {}", "", names.join(", ")));
    }
    lines.push("\nfaults".to_owned());
    for fault in &list.faults {
        let number = match (fault.number, fault.usually) {
            (Some(_), None) => "=always".to_owned(),
            (Some(what), Some(usual)) => format!("={usual} {what}"),
            _ => String::new(),
        };
        let needs = match fault.needs {
            Some("tokens") => " (platforms that issue tokens)",
            Some("json") => " (platforms that speak JSON)",
            Some(_) => " (with a command)",
            None => "",
        };
        lines.push(format!("  {:<18} {:<12} {}{needs}", fault.name, number, fault.summary));
    }
    lines.join("\n")
}
