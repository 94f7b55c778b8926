//! pam.conf(5): stacks of modules that let everybody in.

use super::text::{logical_lines, words};
use super::{Findings, Subject};
use std::collections::BTreeMap;

const FOLDERS: &[&str] = &["etc/pam.d", "usr/lib/pam.d", "usr/local/etc/pam.d", "usr/etc/pam.d"];

/// Modules that ask for nothing and decide nothing.
const SILENT: &[&str] = &[
    "pam_cap.so",
    "pam_echo.so",
    "pam_env.so",
    "pam_faildelay.so",
    "pam_group.so",
    "pam_keyinit.so",
    "pam_limits.so",
    "pam_motd.so",
    "pam_nologin.so",
    "pam_securetty.so",
    "pam_warn.so",
];

/// Services of display managers, which start their greeter as an account of its own.
const GREETERS: &[&str] =
    &["etc/pam.d/gdm-launch-environment", "etc/pam.d/lightdm-greeter", "etc/pam.d/sddm-greeter"];

/// A line of the kind `auth`.
struct Line {
    /// In lower case: "sufficient", or "success=1 default=ignore".
    control: String,
    module: String,
    arguments: Vec<String>,
    text: String,
}

/// A stack in which pam_permit comes first, or is enough, asks for nothing. The distribution's own end with
/// it, behind a module that refuses. An empty password is a fault of its account.
pub(super) fn open(subject: &Subject, findings: &mut Findings<'_>) {
    for (path, text) in files(subject).iter().filter(|(path, _)| !GREETERS.contains(&path.as_str())) {
        let lines = logical_lines(text, |line| line.starts_with('#'));
        let mut first = BTreeMap::new();
        for line in lines.iter().filter_map(|line| without_comment(line)) {
            let (service, rest) = match path.as_str() {
                "etc/pam.conf" => line.split_once(char::is_whitespace).unwrap_or((line, "")),
                _ => ("", line),
            };
            let is_first = first.entry(service.to_ascii_lowercase()).or_insert(true);
            *is_first &= !rest.starts_with("@include");
            let Some(auth) = Line::of(rest).filter(|_| !rest.starts_with('@')) else { continue };
            if permits(&auth) && (*is_first && auth.is_permit() || is_enough(&auth.control)) {
                findings.at(path, format!("nobody has to prove who he is: {}", auth.text));
            }
            *is_first &= SILENT.contains(&auth.name());
        }
    }
}

/// Paths and texts of the files in the folders, and of those that they include from elsewhere.
fn files(subject: &Subject) -> BTreeMap<String, String> {
    let mut files: BTreeMap<String, String> = BTreeMap::new();
    for folder in FOLDERS {
        files.extend(subject.texts(folder).map(|(path, text)| (path.to_owned(), text)));
    }
    files.extend(subject.text("etc/pam.conf").map(|text| ("etc/pam.conf".to_owned(), text)));
    let mut todo: Vec<String> = files.values().flat_map(|text| included(text)).collect();
    while let Some(path) = todo.pop() {
        if files.contains_key(&path) {
            continue;
        }
        let Some(text) = subject.text(&path) else { continue };
        todo.extend(included(&text));
        files.insert(path, text);
    }
    files
}

/// Whole paths that lines include.
fn included(text: &str) -> Vec<String> {
    let lines = logical_lines(text, |line| line.starts_with('#'));
    let names = lines.iter().filter_map(|line| {
        let parts = words(line);
        let at = parts.iter().position(|word| {
            ["@include", "include", "substack"].contains(&word.to_ascii_lowercase().as_str())
        })?;
        parts.get(at + 1)?.strip_prefix('/').map(str::to_owned)
    });
    names.collect()
}

fn without_comment(line: &str) -> Option<&str> {
    line.split('#').next().map(str::trim).filter(|line| !line.is_empty())
}

impl Line {
    fn of(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(char::is_whitespace)?;
        if !kind.trim_start_matches('-').eq_ignore_ascii_case("auth") {
            return None;
        }
        let rest = rest.trim_start();
        let (control, rest) = match rest.strip_prefix('[') {
            Some(inside) => inside.split_once(']')?,
            None => rest.split_once(char::is_whitespace)?,
        };
        let mut parts = words(rest).into_iter();
        let module = parts.next()?;
        let control = control.to_ascii_lowercase();
        Some(Self { control, module, arguments: parts.collect(), text: text.to_owned() })
    }

    fn name(&self) -> &str {
        super::text::name_of(&self.module)
    }

    fn is_permit(&self) -> bool {
        self.name().trim_end_matches(".so") == "pam_permit"
    }
}

/// Whether a module lets in who proves nothing.
fn permits(line: &Line) -> bool {
    let has = |argument: &str| line.arguments.iter().any(|own| own == argument);
    match line.name().trim_end_matches(".so") {
        "pam_permit" | "pam_localuser" => true,
        "pam_debug" => !line.arguments.iter().any(|own| own.starts_with("auth=")) || has("auth=success"),
        "pam_wheel" => has("trust"),
        _ => false,
    }
}

/// Whether nothing behind a module counts that has let somebody in.
fn is_enough(control: &str) -> bool {
    let action = |wanted: &str| {
        let mut pairs = control.split_whitespace().filter_map(|pair| pair.split_once('='));
        pairs.find(|(result, _)| *result == wanted).map(|(_, action)| action)
    };
    control == "sufficient" || action("success").or_else(|| action("default")) == Some("done")
}
