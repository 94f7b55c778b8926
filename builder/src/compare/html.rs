//! A comparison as one HTML page, without scripts and without anything from elsewhere.

use std::fmt::Write;

use super::{Comparison, FileChange, RegistryChange};
use crate::lock::diff::{Change, What, counts, counts_of};
use crate::markup::escaped;

const STYLE: &str = "\
body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:75rem;padding:0 1rem;color:#1c2330}\
h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}table{border-collapse:collapse;width:100%}\
td,th{text-align:left;padding:.2rem .7rem .2rem 0;vertical-align:top;border-bottom:1px solid #e3e6eb}\
td{font-family:ui-monospace,monospace;font-size:.85rem;overflow-wrap:anywhere}\
.added,.up{color:#13692f}.removed,.down{color:#a3221c}.changed{color:#7a5200}.note{color:#5b6472}";

/// The page.
pub fn page(comparison: &Comparison) -> String {
    let (old, new) = (escaped(&comparison.old), escaped(&comparison.new));
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>{old} and {new}</title>\n<style>{STYLE}</style>\n<h1>From {old} to {new}</h1>\n"
    );
    if comparison.is_empty() {
        page.push_str("<p>There is no difference.</p>\n");
    }
    for (title, changes) in comparison.pins.lists().iter().chain(&comparison.lists()) {
        section(&mut page, title, &counts(changes), changes.iter().map(row).collect());
    }
    let windows = &comparison.windows;
    let registry = windows.registry.iter().map(registry_row).collect();
    section(&mut page, "registry", &windows.registry_counts(), registry);
    let counted = counts_of(comparison.files.iter().map(|change| change.what));
    section(&mut page, "files", &counted, comparison.files.iter().map(file_row).collect());
    let sizes = comparison.folders.iter().map(|folder| {
        let kind = if folder.to > folder.from { What::Up } else { What::Down };
        let (from, to) = (mebibytes(folder.from), mebibytes(folder.to));
        (kind, folder.folder.clone(), format!("{from} -> {to}"))
    });
    section(&mut page, "sizes", "bytes of the files below each folder", sizes.collect());
    if !comparison.not_compared.is_empty() {
        page.push_str("<h2>not compared</h2>\n<ul class=\"note\">\n");
        for one in &comparison.not_compared {
            let _ = writeln!(page, "<li>{}: {}</li>", escaped(one.what), escaped(&one.why));
        }
        page.push_str("</ul>\n");
    }
    page + "</html>\n"
}

/// What happened, to what, and the values.
type Row = (What, String, String);

fn section(page: &mut String, title: &str, note: &str, rows: Vec<Row>) {
    if rows.is_empty() {
        return;
    }
    let _ =
        writeln!(page, "<h2>{} <span class=\"note\">{}</span></h2>\n<table>", escaped(title), escaped(note));
    for (what, name, values) in rows {
        let word = what.word();
        let _ = writeln!(
            page,
            "<tr><td class=\"{word}\">{word}</td><td>{}</td><td>{}</td></tr>",
            escaped(&name),
            escaped(&values)
        );
    }
    page.push_str("</table>\n");
}

fn row(change: &Change) -> Row {
    let of = if change.of.is_empty() { String::new() } else { format!(" ({})", change.of.join(", ")) };
    (change.what, change.name.clone(), change.versions() + &of)
}

fn file_row(change: &FileChange) -> Row {
    let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".to_owned());
    let aspects = change.aspects.iter().map(|aspect| match (&aspect.from, &aspect.to) {
        (Some(from), Some(to)) => format!("{} {from} -> {to}", aspect.of),
        (from, to) => format!("{} {}", aspect.of, value(if from.is_some() { from } else { to })),
    });
    (change.what, change.path.clone(), aspects.collect::<Vec<_>>().join("; "))
}

fn registry_row(change: &RegistryChange) -> Row {
    let name = change.name.as_ref().map(|name| format!(" {name}")).unwrap_or_default();
    let values = match (&change.whole, &change.from, &change.to) {
        (Some(whole), ..) => {
            let first: Vec<String> =
                whole.first.iter().map(|(name, value)| format!("{name} = {value}")).collect();
            format!("{} keys, {} values: {}", whole.keys, whole.values, first.join("; "))
        }
        (None, Some(from), Some(to)) => format!("{from} -> {to}"),
        (None, one, other) => one.as_ref().or(other.as_ref()).cloned().unwrap_or_default(),
    };
    (change.what, format!("{}{name}", change.key), values)
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.2} MiB", bytes as f64 / f64::from(1 << 20))
}
