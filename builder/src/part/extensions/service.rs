//! The unit by which an extension comes to life on a host.
//!
//! systemd reads units of an extension anew after it has merged it, but applies neither presets nor
//! `[Install]`. `multi-user.target` *upholds* one unit for each extension, also when the target was reached
//! long before. That unit makes what the extension needs outside `/usr`, and then wants the extension's
//! services. They are not upheld themselves: the agent after its last failure, or a kubelet that waits for
//! its join, would be started again and again.

use super::content::Content;
use crate::error::{Error, ErrorKind, Result};
use crate::tree::{Body, Entry, Node};

const UNITS: &str = "usr/lib/systemd/system";
const MASKED: &str = "/dev/null";

/// The programs that read a folder's files at boot, which an extension may come too late for.
const READERS: [(&str, &str); 3] = [
    ("usr/lib/sysusers.d", "/usr/bin/systemd-sysusers"),
    ("usr/lib/modules-load.d", "/usr/lib/systemd/systemd-modules-load"),
    ("usr/lib/sysctl.d", "/usr/lib/systemd/systemd-sysctl"),
];

/// The name of the unit of the extension `name`.
pub fn unit(name: &str) -> String {
    format!("extension-{name}.service")
}

/// Adds the unit of the extension `name`, which starts the units `enable`, and masks the units `mask`.
///
/// # Errors
/// [`ErrorKind::Definition`] when the extension lacks a unit to enable, or has one to mask.
pub fn add(content: &mut Content, name: &str, enable: &[String], mask: &[String]) -> Result<()> {
    if let Some(unit) = enable.iter().find(|unit| !has_unit(content, unit)) {
        let message =
            format!("the extension {name} cannot enable the unit {unit}: it is not among the layer's files");
        return Err(Error::new(ErrorKind::Definition, message).help(
            "the host's packages bring it: enable it there, and leave the layer out or set extension = false",
        ));
    }
    for unit in mask {
        let mask = content.tree.insert(format!("{UNITS}/{unit}"), Entry::symlink(MASKED));
        if mask.is_some_and(|entry| entry.node != Node::Symlink(MASKED.to_owned())) {
            let message = format!("the extension {name} brings the unit {unit} and masks it");
            return Err(Error::new(ErrorKind::Definition, message).help("remove it from mask"));
        }
    }
    let tmpfiles = format!("usr/lib/tmpfiles.d/{name}-extension.conf");
    let mut commands = readers(content);
    if !content.host.is_empty() {
        let host = Body::inline(content.host.as_bytes());
        content.tree.insert(tmpfiles.as_str(), Entry::file(host, 0o644));
        commands.push(format!("/usr/bin/systemd-tmpfiles --create /{tmpfiles}"));
    }
    if commands.is_empty() && enable.is_empty() {
        return Ok(());
    }
    let mut file = |path: String, text: String| {
        content.tree.insert(path, Entry::file(Body::inline(text.into_bytes()), 0o644))
    };
    file(format!("{UNITS}/{}", unit(name)), text(name, enable, &commands));
    let upholds = format!("[Unit]\nUpholds={}\n", unit(name));
    file(format!("{UNITS}/multi-user.target.d/10-{name}.conf"), upholds);
    Ok(())
}

/// The lines of the unit. A command that fails says why in the journal; the services then start all the same,
/// and the unit is not started again.
fn text(name: &str, enable: &[String], commands: &[String]) -> String {
    let mut lines = vec![
        "[Unit]".to_owned(),
        format!("Description=System extension {name}: what it has outside /usr, and its services"),
    ];
    if !enable.is_empty() {
        let units = enable.join(" ");
        lines.extend([format!("Wants={units}"), format!("Before={units}")]);
    }
    lines.extend(["", "[Service]", "Type=oneshot", "RemainAfterExit=yes"].map(str::to_owned));
    lines.extend(commands.iter().map(|command| format!("ExecStart=-{command}")));
    if commands.is_empty() {
        lines.push("ExecStart=/usr/bin/true".to_owned());
    }
    lines.join("\n") + "\n"
}

fn readers(content: &Content) -> Vec<String> {
    let command = |(folder, program): &(&str, &str)| {
        let files: Vec<String> = content.tree.below(folder).map(|(path, _)| format!("/{path}")).collect();
        (!files.is_empty()).then(|| format!("{program} {}", files.join(" ")))
    };
    READERS.iter().filter_map(command).collect()
}

/// Whether the extension has the file of `unit`, or of the template that it is an instance of.
fn has_unit(content: &Content, unit: &str) -> bool {
    let template = unit
        .split_once('@')
        .and_then(|(stem, rest)| Some(format!("{stem}@.{}", rest.rsplit_once('.')?.1)));
    [Some(unit.to_owned()), template]
        .into_iter()
        .flatten()
        .any(|name| content.tree.file(&format!("{UNITS}/{name}")).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Tree;

    fn content(paths: &[&str]) -> Content {
        let file = || Entry::file(Body::inline(*b"x"), 0o644);
        let entries = paths.iter().map(|path| ((*path).to_owned(), file())).collect();
        Content::of(&Tree { entries }).unwrap()
    }

    fn read(content: &Content, path: &str) -> String {
        String::from_utf8(content.tree.file(path).unwrap().read().unwrap()).unwrap()
    }

    #[test]
    fn one_unit_makes_the_files_and_wants_the_services() {
        let mut content = content(&[
            "usr/lib/systemd/system/a.service",
            "usr/lib/systemd/system/b@.service",
            "etc/a.conf",
            "etc/sysctl.d/9.conf",
        ]);
        let enable = ["a.service", "b@x.service"].map(str::to_owned);
        add(&mut content, "a", &enable, &["swap.target".to_owned()]).unwrap();
        assert_eq!(
            read(&content, "usr/lib/systemd/system/extension-a.service"),
            "[Unit]\nDescription=System extension a: what it has outside /usr, and its services\n\
             Wants=a.service b@x.service\nBefore=a.service b@x.service\n\n\
             [Service]\nType=oneshot\nRemainAfterExit=yes\n\
             ExecStart=-/usr/lib/systemd/systemd-sysctl /usr/lib/sysctl.d/9.conf\n\
             ExecStart=-/usr/bin/systemd-tmpfiles --create /usr/lib/tmpfiles.d/a-extension.conf\n"
        );
        assert_eq!(
            read(&content, "usr/lib/systemd/system/multi-user.target.d/10-a.conf"),
            "[Unit]\nUpholds=extension-a.service\n"
        );
        assert_eq!(
            content.tree.get("usr/lib/systemd/system/swap.target").unwrap().node,
            Node::Symlink("/dev/null".to_owned())
        );
    }

    #[test]
    fn programs_alone_need_no_unit() {
        let mut content = content(&["usr/bin/runc"]);
        add(&mut content, "runc", &[], &[]).unwrap();
        assert_eq!(content.tree.entries.len(), 1);
    }

    #[test]
    fn a_unit_of_the_host_is_refused_by_name() {
        let error = add(&mut content(&[]), "x", &["iscsid.socket".to_owned()], &[]).unwrap_err();
        assert!(
            error.message().contains("iscsid.socket") && error.message().contains("extension x"),
            "{error}"
        );
        let unit = "usr/lib/systemd/system/a.service";
        let error = add(&mut content(&[unit]), "x", &[], &["a.service".to_owned()]).unwrap_err();
        assert!(error.message().contains("a.service"), "{error}");
    }
}
