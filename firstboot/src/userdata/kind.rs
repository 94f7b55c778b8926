//! Recognises the form of user data by its content alone.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::bounds::{Budget, Bytes};
use super::mentions::names_a_join;
use super::unpack;

/// The API groups of node configs.
const GROUPS: &[&str] = &["kubeadm.k8s.io/", "firstboot.kiln/", "kubelet.config.k8s.io/"];
/// The first lines of cloud-init's forms that the agent does not read
/// (<https://cloudinit.readthedocs.io/en/latest/explanation/format.html>).
const OTHERS: &[&str] = &["#cloud-", "#part-handler", "#upstart-job", "## template:"];
/// The first words of what cloudbase-init and EC2's agents run on Windows
/// (<https://cloudbase-init.readthedocs.io/en/latest/userdata.html>).
const OF_WINDOWS: &[&str] =
    &["#ps1", "#ps1_sysnative", "#ps1_x86", "rem cmd", "<powershell>", "<script>", "<persist>"];
/// A multipart message must be recognisable within this many bytes, as in cloud-init.
const HEADERS: usize = 4096;
/// The limit for nested base64.
const LAYERS: usize = 3;

/// The forms of user data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Documents of kubeadm, the kubelet or the agent.
    NodeConfig,
    /// cloud-init's `#cloud-config`.
    CloudConfig,
    /// `#cloud-config-jsonp`: a JSON patch for the cloud-configs before it.
    CloudConfigPatch,
    /// `#cloud-config-archive`: a list of parts.
    CloudConfigArchive,
    /// `## template: jinja`
    Template,
    /// `#include`: URLs of user data.
    Include,
    /// `#cloud-boothook`: a script.
    Boothook,
    /// Another format of cloud-init.
    OtherCloudInit,
    /// A script or program.
    Script,
    /// A script for PowerShell or cmd.exe.
    WindowsScript,
    /// A message with several parts.
    Multipart,
    /// Compressed with gzip.
    Gzip,
    /// Compressed with zstd.
    Zstd,
    /// base64 around a known form.
    Base64,
    /// Text in UTF-16.
    Utf16,
    /// A `data:` URL around anything.
    DataUrl,
    /// An Ignition config.
    Ignition,
    /// Anything else.
    Unknown,
}

impl Kind {
    /// The name for messages.
    pub fn word(self) -> &'static str {
        match self {
            Self::NodeConfig => "a node config",
            Self::CloudConfig => "a cloud-config",
            Self::CloudConfigPatch => "a patch for a cloud-config",
            Self::CloudConfigArchive => "an archive of cloud-configs",
            Self::Template => "a template",
            Self::Include => "an #include",
            Self::Boothook => "a boothook",
            Self::OtherCloudInit => "for cloud-init alone",
            Self::Script => "a script",
            Self::WindowsScript => "a script of Windows",
            Self::Multipart => "a multipart message",
            Self::Gzip => "compressed with gzip",
            Self::Zstd => "compressed with zstd",
            Self::Base64 => "base64",
            Self::Utf16 => "text in UTF-16",
            Self::DataUrl => "a data: URL",
            Self::Ignition => "an Ignition config",
            Self::Unknown => "of a kind that is not known",
        }
    }
}

/// Recognises the form of `bytes` by their first bytes, by the API group of a node config, or by the key of
/// an Ignition config.
pub fn kind(bytes: &[u8]) -> Kind {
    within(bytes, LAYERS)
}

fn within(bytes: &[u8], layers: usize) -> Kind {
    match bytes {
        [0x1f, 0x8b, ..] => return Kind::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => return Kind::Zstd,
        _ if unpack::is_utf16(bytes) => return Kind::Utf16,
        _ => {}
    }
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start();
    let starts = |start: &str| {
        text.get(..start.len()).is_some_and(|front| front.eq_ignore_ascii_case(start.as_bytes()))
    };
    match text {
        _ if starts("#!") => Kind::Script,
        _ if is_template(text) => Kind::Template,
        _ if starts("#cloud-config-archive") => Kind::CloudConfigArchive,
        _ if starts("#cloud-config-jsonp") => Kind::CloudConfigPatch,
        _ if starts("#cloud-config") && text.get(13).is_none_or(|byte| *byte != b'-') => Kind::CloudConfig,
        _ if starts("#include") => Kind::Include,
        _ if starts("#cloud-boothook") => Kind::Boothook,
        _ if OTHERS.iter().any(|start| starts(start)) => Kind::OtherCloudInit,
        _ if is_for_windows(text) => Kind::WindowsScript,
        _ if starts("data:") && text.contains(&b',') => Kind::DataUrl,
        _ if is_message(text) => Kind::Multipart,
        [b'{', ..] if is_ignition(text) => Kind::Ignition,
        _ if is_node_config(text) => Kind::NodeConfig,
        _ if layers > 0 && is_base64(text, layers - 1) => Kind::Base64,
        _ => Kind::Unknown,
    }
}

/// The first line without its end.
fn first_line(text: &[u8]) -> &[u8] {
    text.split(|byte| *byte == b'\n').next().unwrap_or_default().trim_ascii_end()
}

fn is_for_windows(text: &[u8]) -> bool {
    let line = first_line(text).to_ascii_lowercase();
    OF_WINDOWS.iter().any(|start| {
        let rest = line.strip_prefix(start.as_bytes());
        rest.is_some_and(|rest| start.ends_with('>') || rest.first().is_none_or(u8::is_ascii_whitespace))
    })
}

fn is_template(text: &[u8]) -> bool {
    let Some(rest) = first_line(text).strip_prefix(b"##") else { return false };
    let rest = rest.trim_ascii().to_ascii_lowercase();
    rest.strip_prefix(b"template:").is_some_and(|name| name.trim_ascii() == b"jinja")
}

/// Whether a header before the first empty line says that this is a multipart message.
fn is_message(text: &[u8]) -> bool {
    let front = text.get(..HEADERS).unwrap_or(text);
    let mut lines = front
        .split(|byte| *byte == b'\n')
        .map(<[u8]>::trim_ascii_end)
        .take_while(|line| !line.is_empty())
        .peekable();
    let is_header = |line: &[u8]| {
        line.split(|byte| *byte == b':')
            .next()
            .is_some_and(|name| name.len() < line.len() && is_header_name(name))
    };
    if !lines.peek().is_some_and(|line| line.starts_with(b"From ") || is_header(line)) {
        return false;
    }
    lines.any(|line| {
        let line = line.to_ascii_lowercase();
        line.starts_with(b"mime-version:") || line.starts_with(b"content-type:")
    })
}

/// RFC 5322, section 2.2.
pub(super) fn is_header_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|byte| byte.is_ascii_graphic() && *byte != b':')
}

#[derive(Deserialize)]
struct Probe {
    ignition: Option<IgnoredAny>,
}

fn is_ignition(text: &[u8]) -> bool {
    serde_json::from_slice::<Probe>(text).is_ok_and(|probe| probe.ignition.is_some())
}

/// Whether a document of the first level has a group of node configs. Text within a cloud-config is not of
/// the first level.
fn is_node_config(text: &[u8]) -> bool {
    let has = |needle: &[u8]| text.windows(needle.len()).any(|window| window == needle);
    let is_near = GROUPS.iter().any(|group| has(group.as_bytes()));
    is_near && has(b"apiVersion") && (text.starts_with(b"{") || has_first_level_version(text))
}

fn has_first_level_version(text: &[u8]) -> bool {
    let is_content = |line: &&[u8]| {
        let line = line.trim_ascii();
        !line.is_empty() && !line.starts_with(b"#") && !line.starts_with(b"---") && !line.starts_with(b"%")
    };
    let lines = || text.split(|byte| *byte == b'\n').filter(is_content);
    let indentation = |line: &[u8]| line.len() - line.trim_ascii_start().len();
    // The blanks before the whole text are cut off already.
    let level = lines()
        .nth(1)
        .map_or(0, indentation)
        .min(lines().skip(1).map(indentation).min().unwrap_or(0));
    lines().enumerate().any(|(position, line)| {
        let is_first_level = position == 0 || indentation(line) == level;
        let key = line.trim_ascii_start();
        is_first_level
            && [&b"apiVersion"[..], b"\"apiVersion\"", b"'apiVersion'"]
                .iter()
                .any(|name| key.starts_with(name))
    })
}

fn is_base64(text: &[u8], layers: usize) -> bool {
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/-_= \t\r\n".contains(byte);
    let is_of_use = |decoded: Bytes| {
        within(&decoded, layers) != Kind::Unknown
            || names_a_join(&decoded)
            || unpack::foreign(&decoded).is_some()
    };
    text.iter().all(is_digit) && unpack::base64_of_any_alphabet(text, &Budget::default()).is_ok_and(is_of_use)
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    #[test]
    fn kinds_of_user_data_are_told_apart() {
        for (text, expected) in [
            (&b"apiVersion: kubeadm.k8s.io/v1beta4\nkind: JoinConfiguration\n"[..], Kind::NodeConfig),
            (b"# comment\n---\napiVersion: \"firstboot.kiln/v1\"", Kind::NodeConfig),
            (br#"{"apiVersion":"kubeadm.k8s.io/v1beta3"}"#, Kind::NodeConfig),
            (b"kind: KubeletConfiguration\napiVersion: kubelet.config.k8s.io/v1beta1", Kind::NodeConfig),
            (b"#cloud-config\nwrite_files:\n- content: apiVersion kubeadm.k8s.io/\n", Kind::CloudConfig),
            (b"\xef\xbb\xbf\r\n#Cloud-Config", Kind::CloudConfig),
            (b"#cloud-config-archive\n- a", Kind::CloudConfigArchive),
            (b"#cloud-config-jsonp\n[]", Kind::CloudConfigPatch),
            (b"write_files:\n- content: |\n    apiVersion: kubeadm.k8s.io/v1beta4\n", Kind::Unknown),
            (b"  kind: x\n  apiVersion: kubeadm.k8s.io/v1beta4\n", Kind::NodeConfig),
            (b"#cloud-boothook\n", Kind::Boothook),
            (b"#include\nhttps://a/kubeadm.k8s.io/apiVersion", Kind::Include),
            (b"## template: jinja\n#cloud-config\n", Kind::Template),
            (b"##Template:Jinja\r\n#cloud-config\n", Kind::Template),
            (b"## template: mako\n#cloud-config\n", Kind::OtherCloudInit),
            (b"#!/bin/sh\nkubeadm join", Kind::Script),
            (b"#ps1\nkubeadm join", Kind::WindowsScript),
            (b"#ps1_sysnative\r\nkubeadm join", Kind::WindowsScript),
            (b"rem cmd\r\nkubeadm join", Kind::WindowsScript),
            (b"\r\n<powershell>kubeadm join</powershell>\n<persist>true</persist>", Kind::WindowsScript),
            (b"<script>\nkubeadm join\n</script>", Kind::WindowsScript),
            (b"#ps1: a comment\napiVersion: kubeadm.k8s.io/v1beta4\n", Kind::NodeConfig),
            (b"Content-Type: multipart/mixed", Kind::Multipart),
            (b"From nobody Thu Jan 1\nX-A: b\nmime-version: 1.0\n\n", Kind::Multipart),
            (b"apiVersion: kubeadm.k8s.io/v1beta4\n\nMIME-Version: 1.0\n", Kind::NodeConfig),
            (b"\x1f\x8b\x08", Kind::Gzip),
            (b"\x28\xb5\x2f\xfd\0", Kind::Zstd),
            (br#"{"ignition":{"version":"3.4.0"}}"#, Kind::Ignition),
            (br#"{"ignition":{},"a":"apiVersion: kubeadm.k8s.io/v1beta4"}"#, Kind::Ignition),
            (br#"{"a":"\"ignition\""}"#, Kind::Unknown),
            (b"apiVersion: v1", Kind::Unknown),
            (b"aGVsbG8=", Kind::Unknown),
            (b"", Kind::Unknown),
        ] {
            assert_eq!(kind(text), expected, "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn base64_is_known_by_what_it_holds() {
        let mut text = "#cloud-config\n".to_owned();
        for layer in 1..=LAYERS + 1 {
            text = STANDARD.encode(&text);
            assert_eq!(
                kind(text.as_bytes()),
                if layer <= LAYERS { Kind::Base64 } else { Kind::Unknown },
                "{layer}"
            );
        }
        assert_eq!(kind(b"I2Nsb3Vk\r\nLWNvbmZp\nZwo"), Kind::Base64);
    }
}
