//! kubeadm's ResetConfiguration, which exists from v1beta4 on
//! (<https://kubernetes.io/docs/reference/config-api/kubeadm-config.v1beta4/#kubeadm-k8s-io-v1beta4-ResetConfiguration>).

use contract::suggest;
use std::path::{Path, PathBuf};

use super::check::Problems;
use super::documents::{self, Document, shown};
use super::fields::Fields;
use super::redact::Redactor;
use super::{ApiVersion, KUBEADM, VERSIONS, raw, warn_of_duplicates, warn_of_unknown};
use crate::error::{ErrorKind, Failure, Result};
use crate::host::mounts::UnmountFlags;

const KIND: &str = "ResetConfiguration";

/// Every name that some kubeadm from 1.20 on has for a phase of the reset.
const PHASES: &[&str] = &["preflight", "update-cluster-status", "remove-etcd-member", "cleanup-node"];

/// Flags of umount2(2) by their names.
const UNMOUNT_FLAGS: &[(&str, UnmountFlags)] = &[
    ("MNT_FORCE", UnmountFlags::MNT_FORCE),
    ("MNT_DETACH", UnmountFlags::MNT_DETACH),
    ("MNT_EXPIRE", UnmountFlags::MNT_EXPIRE),
    ("UMOUNT_NOFOLLOW", UnmountFlags::UMOUNT_NOFOLLOW),
];

/// The ResetConfiguration, with defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResetConfiguration {
    /// The folder from which certificates are removed; none for the default.
    pub certificates_dir: Option<PathBuf>,
    /// Whether kubeadm's own scratch folder is emptied too.
    pub cleanup_tmp_dir: bool,
    /// The runtime's socket; none to detect it.
    pub cri_socket: Option<String>,
    /// Print the plan, change nothing.
    pub dry_run: bool,
    /// Do not ask.
    pub force: bool,
    /// Names of checks.
    pub ignore_preflight_errors: Vec<String>,
    /// Phases to leave out.
    pub skip_phases: Vec<String>,
    /// How volumes are unmounted.
    pub unmount_flags: UnmountFlags,
    /// For the operator, such as unknown fields.
    pub warnings: Vec<String>,
}

/// Reads the ResetConfiguration among the documents of a file.
pub fn parse_reset(bytes: &[u8]) -> Result<ResetConfiguration> {
    let mut redactor = Redactor::default();
    let read = documents::split(bytes, &mut redactor).and_then(|mut documents| {
        let document = documents.remove(KIND).ok_or_else(|| {
            Failure::new(ErrorKind::Config, format!("no {KIND} found in the file"))
                .help(format!("it begins with apiVersion: {KUBEADM}/v1beta4 and kind: {KIND}"))
        })?;
        check_version(&document)?;
        read(&document)
    });
    let clean = |warnings: Vec<String>| warnings.iter().map(|warning| redactor.clean(warning)).collect();
    read.map(|reset| ResetConfiguration { warnings: clean(reset.warnings), ..reset })
        .map_err(|failure| redactor.clean_failure(failure))
}

fn check_version(document: &Document) -> Result<()> {
    let known =
        |(word, version): &&(&str, ApiVersion)| *word == document.version && *version >= ApiVersion::V1beta4;
    if document.group == KUBEADM && VERSIONS.iter().any(|row| known(&row)) {
        return Ok(());
    }
    let message = format!(
        "no kind \"{KIND}\" is registered for version \"{}/{}\"",
        shown(&document.group),
        shown(&document.version)
    );
    Err(Failure::new(ErrorKind::Config, message).help(format!("write apiVersion: {KUBEADM}/v1beta4")))
}

fn read(document: &Document) -> Result<ResetConfiguration> {
    let (mut problems, mut unknown, mut warnings) = (Problems::default(), Vec::new(), Vec::new());
    let mut fields = Fields::of(&document.value, "")?;
    fields.skip("apiVersion");
    fields.skip("kind");
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    let reset = ResetConfiguration {
        certificates_dir: given(fields.text("certificatesDir")?).map(PathBuf::from),
        cleanup_tmp_dir: fields.flag("cleanupTmpDir")?.unwrap_or_default(),
        cri_socket: given(fields.text("criSocket")?),
        dry_run: fields.flag("dryRun")?.unwrap_or_default(),
        force: fields.flag("force")?.unwrap_or_default(),
        ignore_preflight_errors: fields.texts("ignorePreflightErrors")?,
        skip_phases: fields.texts("skipPhases")?,
        unmount_flags: unmount_flags(&fields.texts("unmountFlags")?, &mut problems),
        warnings: Vec::new(),
    };
    if let Some(timeouts) = fields.fields("timeouts")? {
        // A worker's reset asks no API server.
        raw::read_timeouts(timeouts, &mut unknown)?;
    }
    fields.finish(&mut unknown);
    warn_of_unknown(&unknown, &mut warnings);
    warn_of_duplicates(document, &mut warnings);
    reset.note_problems(&mut problems);
    problems.result().map_err(|failure| failure.after(&warnings))?;
    Ok(ResetConfiguration { warnings, ..reset })
}

fn unmount_flags(words: &[String], problems: &mut Problems) -> UnmountFlags {
    let names: Vec<&str> = UNMOUNT_FLAGS.iter().map(|(name, _)| *name).collect();
    let mut flags = UnmountFlags::empty();
    for (position, word) in words.iter().enumerate() {
        match UNMOUNT_FLAGS.iter().find(|(name, _)| name == word) {
            Some((_, flag)) => flags |= *flag,
            None => problems.unsupported(&format!("unmountFlags[{position}]"), word, &names),
        }
    }
    if flags.contains(UnmountFlags::MNT_EXPIRE)
        && flags.intersects(UnmountFlags::MNT_FORCE | UnmountFlags::MNT_DETACH)
    {
        problems.invalid(
            "unmountFlags",
            &words.join(","),
            "MNT_EXPIRE goes with neither MNT_FORCE nor MNT_DETACH",
        );
    }
    flags
}

impl ResetConfiguration {
    /// Whether it can be done, after flags were laid over it.
    pub fn check(&self) -> Result<()> {
        let mut problems = Problems::default();
        self.note_problems(&mut problems);
        problems.result()
    }

    fn note_problems(&self, problems: &mut Problems) {
        if let Some(folder) = &self.certificates_dir {
            check_certificates(folder, problems);
        }
        if let Some(socket) = &self.cri_socket
            && let Err(failure) = crate::host::cri::socket_path(socket)
        {
            problems.invalid("criSocket", socket, &failure.message);
        }
        for (position, name) in
            self.skip_phases.iter().enumerate().filter(|(_, name)| !PHASES.contains(&name.as_str()))
        {
            let meant = suggest::did_you_mean(name, PHASES.iter().copied());
            problems.invalid(&format!("skipPhases[{position}]"), name, &format!("invalid phase name{meant}"));
        }
        let ignored = &self.ignore_preflight_errors;
        if ignored.len() > 1 && ignored.iter().any(|name| name.eq_ignore_ascii_case("all")) {
            problems.invalid(
                "ignorePreflightErrors",
                &ignored.join(","),
                "don't specify individual checks if 'all' is used",
            );
        }
    }
}

/// Top folders of the system, in which no certificates of a cluster are.
const SYSTEM: &[&str] = &[
    "bin", "boot", "dev", "lib", "lib32", "lib64", "libx32", "proc", "root", "run", "sbin", "sys", "tmp",
    "usr",
];
/// Folders below others that hold more than one cluster's certificates, with all below them.
const SHARED: &[&str] = &["/etc/ssl", "/etc/pki", "/etc/ca-certificates", "/var/lib/ca-certificates"];

/// Whether a folder can be the one that holds a cluster's certificates: its absolute path is plain, and it is
/// neither a folder of the system nor a home.
pub fn may_hold_certificates(folder: &Path) -> bool {
    use std::path::Component::{Normal, RootDir};
    let is_plain = folder.components().all(|part| matches!(part, RootDir | Normal(_)));
    if !folder.has_root() || !is_plain || SHARED.iter().any(|shared| folder.starts_with(shared)) {
        return false;
    }
    let names: Vec<&str> = folder.iter().skip(1).map(|name| name.to_str().unwrap_or_default()).collect();
    match names.as_slice() {
        [] | [_] | ["home" | "var", _] => false,
        [top, ..] => !SYSTEM.contains(top),
    }
}

fn check_certificates(folder: &Path, problems: &mut Problems) {
    if !may_hold_certificates(folder) {
        problems.invalid(
            "certificatesDir",
            &folder.display().to_string(),
            "certificates are removed from it: it must be absolute, without .., and no folder of the system or home",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(fields: &str) -> Result<ResetConfiguration> {
        parse_reset(
            format!("apiVersion: kubeadm.k8s.io/v1beta4\nkind: ResetConfiguration\n{fields}").as_bytes(),
        )
    }

    #[test]
    fn every_field_is_read() {
        let reset = parse(
            "certificatesDir: /srv/pki\ncleanupTmpDir: true\ncriSocket: unix:///run/crio/crio.sock\ndryRun: true\nforce: yes\n\
             ignorePreflightErrors: [IsPrivilegedUser]\nskipPhases: [preflight]\nunmountFlags: [MNT_FORCE, MNT_DETACH]\n\
             timeouts: {kubernetesAPICall: 5s}\nforced: 1\n",
        );
        let expected = ResetConfiguration {
            certificates_dir: Some("/srv/pki".into()),
            cleanup_tmp_dir: true,
            cri_socket: Some("unix:///run/crio/crio.sock".to_owned()),
            dry_run: true,
            force: true,
            ignore_preflight_errors: vec!["IsPrivilegedUser".to_owned()],
            skip_phases: vec!["preflight".to_owned()],
            unmount_flags: UnmountFlags::MNT_FORCE | UnmountFlags::MNT_DETACH,
            warnings: vec![
                "strict decoding error: unknown field \"forced\"; did you mean \"force\"?".to_owned(),
            ],
        };
        assert_eq!(reset, Ok(expected));
        assert_eq!(
            parse("").map(|reset| (reset.force, reset.unmount_flags)),
            Ok((false, UnmountFlags::empty()))
        );
    }

    #[test]
    fn no_folder_of_the_system_or_home_holds_certificates() {
        for folder in [
            "/",
            "//",
            "/usr",
            "/usr/lib",
            "/usr/local/share/ca-certificates",
            "/etc",
            "/var",
            "/var/lib",
            "/srv",
            "/home/me",
            "/root/pki",
            "/etc/ssl/certs",
            "/etc/pki/tls",
            "/run/x/y",
            "/boot/efi",
            "/lib64/x",
            "srv/pki",
            "/srv/../usr",
            "/sys/fs/cgroup",
            "/etc/../usr/lib/x",
        ] {
            assert!(!may_hold_certificates(Path::new(folder)), "{folder}");
        }
        for folder in [
            "/etc/kubernetes/pki",
            "/etc/kubernetes",
            "/srv/pki",
            "/home/me/pki",
            "/var/lib/pki/",
            "/opt/k8s/pki",
        ] {
            assert!(may_hold_certificates(Path::new(folder)), "{folder}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_by_its_field() {
        for (fields, message) in [
            ("force: 3", "force: cannot unmarshal a number into true or false"),
            ("skipPhases: preflight", "skipPhases: cannot unmarshal a string into a list"),
            ("skipPhases: [cleanup]", "skipPhases[0]: Invalid value: \"cleanup\": invalid phase name"),
            ("unmountFlags: [MNT_FORCE, FORCE]", "unmountFlags[1]: Unsupported value: \"FORCE\""),
            (
                "unmountFlags: [MNT_EXPIRE, MNT_DETACH]",
                "unmountFlags: Invalid value: \"MNT_EXPIRE,MNT_DETACH\"",
            ),
            ("certificatesDir: pki", "certificatesDir: Invalid value: \"pki\""),
            ("certificatesDir: /etc", "certificatesDir: Invalid value: \"/etc\""),
            ("certificatesDir: /etc/kubernetes/../..", "certificatesDir: Invalid value"),
            ("certificatesDir: /usr/lib", "certificatesDir: Invalid value: \"/usr/lib\""),
            ("criSocket: tcp://host", "criSocket: Invalid value: \"tcp://host\""),
            (
                "timeouts: {kubernetesAPICall: soon}",
                "timeouts.kubernetesAPICall: Invalid value: a duration is",
            ),
            ("ignorePreflightErrors: [all, Swap]", "ignorePreflightErrors: Invalid value: \"all,Swap\""),
        ] {
            let failure = parse(fields).unwrap_err();
            assert!(
                failure.kind == ErrorKind::Config && failure.message.starts_with(message),
                "{fields}: {failure}"
            );
        }
        let misplaced = parse("canary.canarycanarycana: 1\n").unwrap().warnings.concat();
        assert!(
            misplaced.contains("unknown field") && !misplaced.contains("canarycanarycana"),
            "{misplaced}"
        );
        for (text, message) in [
            (
                "apiVersion: kubeadm.k8s.io/v1beta3\nkind: ResetConfiguration\n",
                "no kind \"ResetConfiguration\" is registered",
            ),
            (
                "apiVersion: kubeadm.k8s.io/v1beta4\nkind: JoinConfiguration\n",
                "no ResetConfiguration found in the file",
            ),
            ("[", "document 1 is not valid YAML"),
        ] {
            assert!(parse_reset(text.as_bytes()).unwrap_err().message.starts_with(message), "{text}");
        }
    }
}
