//! The status, as a page for people and as JSON. What machines say of themselves is hostile text.

use std::collections::BTreeMap;
use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::machine::{Event, Machine, Phase};
use super::machines::Snapshot;
use crate::determinism::{Calendar, present};
use crate::digest::Digest;

/// How many machines the page shows; the JSON has them all.
const MOST_SHOWN: usize = 500;

/// How many refusals the page shows.
const MOST_REFUSALS: usize = 20;

const STYLE: &str = include_str!("page.css");

/// What the page says above the machines.
#[derive(Debug, Clone)]
pub(super) struct About {
    /// The image's name.
    pub image: String,
    /// Seconds since 1970.
    pub started: u64,
}

/// The header Content-Security-Policy of the page: its own style, and nothing else.
pub(super) fn policy() -> String {
    let digest = STANDARD.encode(Digest::of(STYLE.as_bytes()).bytes());
    format!(
        "default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}

/// The status as JSON.
pub(super) fn json(about: &About, snapshot: &Snapshot) -> Value {
    json!({
        "image": about.image,
        "started": about.started,
        "time": present(),
        "phases": counts(snapshot),
        "machines": snapshot.machines,
        "refusals": snapshot.refusals,
    })
}

fn counts(snapshot: &Snapshot) -> BTreeMap<Phase, usize> {
    snapshot.machines.iter().fold(BTreeMap::new(), |mut counts, machine| {
        *counts.entry(machine.phase).or_default() += 1;
        counts
    })
}

/// The status as a page, which a browser loads again every five seconds.
pub(super) fn html(about: &About, snapshot: &Snapshot) -> String {
    let image = escaped(&about.image);
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta http-equiv=\"refresh\" content=\"5\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>{image}: kiln serve</title>\n\
         <style>{STYLE}</style>\n<header><h1>{image}</h1><p>kiln serve since {}, now {}</p></header>\n<main>\n<ul class=\"counts\">\n",
        time(about.started),
        time(present()),
    );
    let _ = writeln!(page, "<li><b>{}</b> machines</li>", snapshot.machines.len());
    for (phase, count) in counts(snapshot) {
        let (class, words) = words(phase);
        let _ = writeln!(page, "<li class=\"{class}\"><b>{count}</b> {words}</li>");
    }
    page.push_str("</ul>\n");
    page.push_str(&machines(&snapshot.machines));
    page.push_str(&refusals(snapshot));
    page.push_str("</main>\n</html>\n");
    page
}

fn machines(machines: &[Machine]) -> String {
    if machines.is_empty() {
        return "<p>No machine has asked yet.</p>\n".to_owned();
    }
    let mut table =
        "<table>\n<thead><tr><th>machine<th>address<th>phase<th>node<th>message<th>config<th>last seen\
        </tr></thead>\n<tbody>\n"
            .to_owned();
    machines.iter().take(MOST_SHOWN).for_each(|machine| table.push_str(&row(machine)));
    table.push_str("</tbody>\n</table>\n");
    let more = machines.len().saturating_sub(MOST_SHOWN);
    if more > 0 {
        let _ = writeln!(
            table,
            "<p>{more} more, seen earlier, are in <a href=\"status.json\">status.json</a>.</p>"
        );
    }
    table
}

fn row(machine: &Machine) -> String {
    let shown = |text: &Option<String>| escaped(text.as_deref().unwrap_or_default());
    let name = machine.mac.as_ref().or(machine.uuid.as_ref()).or(machine.serial.as_ref());
    let more = [&machine.serial, &machine.uuid, &machine.arch].into_iter().flatten();
    let more = machine.more_macs.iter().chain(more);
    let more: Vec<String> = more.map(|text| escaped(text)).collect();
    let (class, words) = words(machine.phase);
    let progress = machine.percent.map_or_else(String::new, |percent| {
        format!(" {percent} %<progress max=\"100\" value=\"{percent}\"></progress>")
    });
    let message = [&machine.class, &machine.message].into_iter().flatten();
    let message: Vec<String> = message.map(|text| escaped(text)).collect();
    let taken = machine
        .taken
        .as_ref()
        .map_or_else(String::new, |event| format!("taken by {}", said(event)));
    let refused = match &machine.last_refused {
        Some(event) => format!("<p class=\"bad\">{} refused, last {}</p>", machine.refused, said(event)),
        None => String::new(),
    };
    format!(
        "<tr><td><b>{}</b><p>{}</p><td>{}<td class=\"{class}\">{words}{progress}<td>{}<td>{}<td>{taken}{refused}<td>{}</tr>\n",
        name.map_or_else(String::new, |name| escaped(name)),
        more.join("<br>"),
        machine.address,
        shown(&machine.node),
        message.join(": "),
        time(machine.last_seen),
    )
}

fn refusals(snapshot: &Snapshot) -> String {
    if snapshot.refusals.is_empty() {
        return String::new();
    }
    let mut list = "<h2>Refused</h2>\n<ul class=\"refusals\">\n".to_owned();
    for refusal in snapshot.refusals.iter().take(MOST_REFUSALS) {
        let machine = refusal.machine.as_deref().unwrap_or("no machine");
        let _ = writeln!(
            list,
            "<li>{}: the config of {}: {}</li>",
            said(&refusal.event),
            escaped(machine),
            escaped(refusal.why)
        );
    }
    list + "</ul>\n"
}

/// A phase's class and words.
fn words(phase: Phase) -> (&'static str, &'static str) {
    match phase {
        Phase::Seen => ("idle", "nothing to boot"),
        Phase::Script => ("busy", "script given"),
        Phase::Loading => ("busy", "loading"),
        Phase::ConfigTaken => ("busy", "config taken"),
        Phase::Installing => ("busy", "installing"),
        Phase::Installed => ("good", "installed"),
        Phase::InstallFailed => ("bad", "installation failed"),
        Phase::Joined => ("good", "joined"),
        Phase::Failed => ("bad", "failed"),
    }
}

fn said(event: &Event) -> String {
    format!("{} at {}", event.address, time(event.time))
}

fn time(seconds: u64) -> String {
    Calendar::at(seconds).to_string().replace('T', " ").replace('Z', "")
}

/// Text for HTML, between tags or quotes.
fn escaped(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut all, letter| {
        match letter {
            '&' => all.push_str("&amp;"),
            '<' => all.push_str("&lt;"),
            '>' => all.push_str("&gt;"),
            '"' => all.push_str("&quot;"),
            '\'' => all.push_str("&#39;"),
            other => all.push(other),
        }
        all
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_stays_text() {
        assert_eq!(
            escaped("<script>alert('x' & \"y\")</script>"),
            "&lt;script&gt;alert(&#39;x&#39; &amp; &quot;y&quot;)&lt;/script&gt;"
        );
    }

    #[test]
    fn an_empty_page_says_so_and_its_policy_names_its_style() {
        let about = About { image: "debian-13".to_owned(), started: 0 };
        let snapshot = Snapshot { machines: Vec::new(), refusals: Vec::new() };
        let page = html(&about, &snapshot);
        assert!(page.contains("No machine has asked yet.") && page.contains("<b>0</b> machines"));
        // openssl dgst -sha256 -binary page.css | base64 has 44 letters.
        let digest =
            policy().split_once("'sha256-").and_then(|(_, rest)| Some(rest.split_once('\'')?.0.len()));
        assert_eq!(digest, Some(44));
        assert_eq!(json(&about, &snapshot)["machines"], json!([]));
    }
}
