//! A comparison as text for a terminal: long lists are cut, with the number of what is left out.

use std::fmt::{self, Write};

use indicatif::DecimalBytes;

use super::{Comparison, FileChange, FolderSize, RegistryChange, WindowsComparison};
use crate::lock::diff::{What, counts, counts_of, lines};

/// The most lines of a list.
const LONGEST: usize = 40;
/// The most folders.
const FOLDERS: usize = 12;
/// The most bytes of a digest or an attribute that are shown.
const VALUE: usize = 80;

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut sections = Vec::new();
        if !self.pins.is_empty() {
            sections.push(self.pins.to_string());
        }
        for (title, changes) in self.lists().iter().filter(|(_, changes)| !changes.is_empty()) {
            let shown = &changes[..changes.len().min(LONGEST)];
            let left = left_out(changes.len() - shown.len());
            sections.push(format!("{title}: {}{}{left}", counts(changes), lines(shown)));
        }
        sections.extend(registry(&self.windows));
        sections.extend(files(&self.files));
        sections.extend(folders(&self.folders));
        if self.is_empty() {
            sections.push("no difference".to_owned());
        }
        for one in &self.not_compared {
            sections.push(format!("{}: not compared: {}", one.what, one.why));
        }
        f.write_str(&sections.join("\n"))
    }
}

fn left_out(count: usize) -> String {
    match count {
        0 => String::new(),
        _ => format!("\n  … and {count} more (--json and --html show all)"),
    }
}

/// Values, and whole keys by their counts; of a small key also its values.
fn registry(windows: &WindowsComparison) -> Option<String> {
    let changes = &windows.registry;
    if changes.is_empty() {
        return None;
    }
    let mut text = format!("registry: {}", windows.registry_counts());
    for change in changes.iter().take(LONGEST) {
        let _ = write!(text, "\n  {:<8} {}{}", change.what.word(), change.key, registry_value(change));
    }
    Some(text + &left_out(changes.len().saturating_sub(LONGEST)))
}

/// "  NoAutoUpdate: 0 -> 1", or "  (2 keys, 14 values)"
fn registry_value(change: &RegistryChange) -> String {
    let cut = |text: &str| match text.char_indices().nth(VALUE) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    };
    if let Some(whole) = &change.whole {
        let counted = |count, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
        let mut text = format!("  ({}, {}", counted(whole.keys, "key"), counted(whole.values, "value"));
        if let [(name, value)] = whole.first.as_slice() {
            let _ = write!(text, ": {name} = {}", cut(value));
        }
        return text + ")";
    }
    let name = change.name.as_deref().unwrap_or_default();
    match (&change.from, &change.to) {
        (Some(from), Some(to)) => format!("  {name}: {} -> {}", cut(from), cut(to)),
        (one, other) => {
            format!("  {name}: {}", cut(one.as_ref().or(other.as_ref()).map_or("", String::as_str)))
        }
    }
}

/// What is below a folder that came or went is counted with it.
fn files(changes: &[FileChange]) -> Option<String> {
    if changes.is_empty() {
        return None;
    }
    let mut heads: Vec<(&FileChange, usize)> = Vec::new();
    for change in changes {
        let is_below = |head: &FileChange| {
            let separator = if head.path.starts_with('/') { '/' } else { '\\' };
            head.what == change.what
                && head.what != What::Changed
                && change.path.strip_prefix(&head.path).is_some_and(|rest| rest.starts_with(separator))
        };
        match heads.last_mut().filter(|(head, _)| is_below(head)) {
            Some((_, below)) => *below += 1,
            None => heads.push((change, 0)),
        }
    }
    let mut text = format!("files: {}", counts_of(changes.iter().map(|change| change.what)));
    for (change, below) in heads.iter().take(LONGEST) {
        let _ = write!(text, "\n  {:<8} {}{}", change.what.word(), change.path, described(change));
        if *below > 0 {
            let _ = write!(text, " (and {below} below it)");
        }
    }
    let shown: usize = heads.iter().take(LONGEST).map(|(_, below)| below + 1).sum();
    Some(text + &left_out(changes.len() - shown))
}

/// "  content, 12 B -> 15 B, mode 0644 -> 0600"
fn described(change: &FileChange) -> String {
    let aspect = |of: &str| change.aspects.iter().find(|aspect| aspect.of == of);
    let value =
        |text: &Option<String>| text.as_ref().map_or("none".to_owned(), |text| format!("{text:.VALUE$}"));
    if change.what != What::Changed {
        let size = aspect("size").and_then(|size| size.from.as_ref().or(size.to.as_ref()));
        return size.map_or_else(String::new, |size| format!("  {}", bytes(size)));
    }
    let described: Vec<String> = change
        .aspects
        .iter()
        .map(|aspect| match (aspect.of.as_str(), &aspect.from, &aspect.to) {
            ("content", Some(_), Some(_)) => "content".to_owned(),
            ("size", Some(from), Some(to)) => format!("{} -> {}", bytes(from), bytes(to)),
            (of, from, to) => format!("{of} {} -> {}", value(from), value(to)),
        })
        .collect();
    format!("  {}", described.join(", "))
}

fn bytes(count: &str) -> String {
    count.parse().map_or_else(|_| count.to_owned(), |count| DecimalBytes(count).to_string())
}

fn folders(changes: &[FolderSize]) -> Option<String> {
    if changes.is_empty() {
        return None;
    }
    let mut text = format!("sizes: {} folders", changes.len());
    for change in changes.iter().take(FOLDERS) {
        let sign = if change.to >= change.from { '+' } else { '-' };
        let _ = write!(
            text,
            "\n  {sign}{:<10} {}  {} -> {}",
            DecimalBytes(change.difference()).to_string(),
            change.folder,
            DecimalBytes(change.from),
            DecimalBytes(change.to)
        );
    }
    Some(text + &left_out(changes.len().saturating_sub(FOLDERS)))
}
