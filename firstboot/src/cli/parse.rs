//! The command line → a [`Request`].

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::help;
use super::request::{
    Common, ConfigValidate, Install, Join, KubeadmVersion, Request, Reset, Run, Status, VersionOutput,
};
use super::words::{Word, Words, masked, unexpected, unknown_flag, usage};
use crate::config::flags::JoinFlags;
use crate::error::{Failure, Result};
use crate::host::root::Root;
use crate::secret::Secret;
use contract::suggest;

/// The name of the link through which existing user data calls the agent.
const KUBEADM: &str = "kubeadm";

/// The agent's commands.
const COMMANDS: &[&str] =
    &["run", "join", "init", "preflight", "explain", "status", "reset", "config", "install"];

/// The commands of the link named kubeadm.
const KUBEADM_COMMANDS: &[&str] = &["join", "init", "reset", "config", "version"];

/// Commands of the real kubeadm that this one does not have.
const KUBEADM_ONLY: &[&str] = &["alpha", "certs", "completion", "kubeconfig", "token", "upgrade"];

/// Every flag of a join by the name that kubeadm's rules use.
const JOIN_FLAGS: &[&str] = &[
    "config",
    "token",
    "token-file",
    "discovery-token",
    "tls-bootstrap-token",
    "discovery-token-ca-cert-hash",
    "discovery-token-unsafe-skip-ca-verification",
    "discovery-file",
    "node-name",
    "cri-socket",
    "patches",
    "ignore-preflight-errors",
    "skip-phases",
    "dry-run",
    "control-plane",
    "apiserver-advertise-address",
    "apiserver-bind-port",
    "certificate-key",
];

/// Reads the command line of a program that was called as `program`, `arguments` without its name.
pub fn parse(program: &OsStr, arguments: impl IntoIterator<Item = OsString>) -> Result<Request> {
    let as_kubeadm = Path::new(program).file_name() == Some(OsStr::new(KUBEADM));
    let mut line = Line {
        words: Words::of(arguments),
        common: Common::default(),
        as_kubeadm,
        help: String::new(),
        command: String::new(),
    };
    line.help = help::of(if as_kubeadm { KUBEADM } else { "" });
    let request = line.request();
    request.map_err(|failure| {
        if failure.help.is_some() {
            failure
        } else {
            failure.help(format!("see {}{} --help", line.called(), line.command))
        }
    })
}

/// A command line that is being read.
struct Line {
    words: Words,
    common: Common,
    as_kubeadm: bool,
    /// The help of the command that was read.
    help: String,
    /// The command, after a space; empty before it is read.
    command: String,
}

/// Whether a command took a word that is not a common flag.
type Taken = Result<bool>;

impl Line {
    fn called(&self) -> &'static str {
        if self.as_kubeadm { KUBEADM } else { "firstboot" }
    }

    fn request(&mut self) -> Result<Request> {
        loop {
            match self.words.next()? {
                None => return Err(usage("a command is missing")),
                Some(Word::Value(word)) => return self.command(&word),
                Some(Word::Flag(flag)) => match flag.as_str() {
                    "h" | "help" => return Ok(Request::Help(self.help.clone())),
                    "V" | "version" => return self.version(),
                    flag if self.common_flag(flag)? => (),
                    flag => return Err(unknown_flag(flag, &self.help)),
                },
            }
        }
    }

    fn version(&mut self) -> Result<Request> {
        while let Some(Word::Flag(flag)) = self.words.next()? {
            if !self.common_flag(&flag)? {
                return Err(unknown_flag(&flag, &self.help));
            }
        }
        Ok(Request::Version { json: self.common.json })
    }

    fn command(&mut self, word: &OsString) -> Result<Request> {
        let word = word.to_str().unwrap_or_default();
        let known = if self.as_kubeadm { KUBEADM_COMMANDS } else { COMMANDS };
        if word == "help" {
            return Ok(Request::Help(self.help.clone()));
        }
        if !known.contains(&word) {
            return Err(self.no_command(word, known));
        }
        self.help = help::of(word);
        self.command = format!(" {word}");
        match word {
            "run" => self.plain(|common| Request::Run(Run { common })),
            "join" => self.join(Request::Join, false),
            "init" => self.init(),
            "preflight" => self.join(Request::Preflight, true),
            "explain" => self.join(Request::Explain, true),
            "status" => self.status(),
            "reset" => self.reset(),
            "config" => self.config(),
            "install" => self.install(),
            _ => self.kubeadm_version(),
        }
    }

    fn no_command(&self, word: &str, known: &[&str]) -> Failure {
        if self.as_kubeadm && KUBEADM_ONLY.contains(&word) {
            return usage(format!("this kubeadm is firstboot, which has no kubeadm {word}"))
                .help("the layer kubeadm brings the real one: /usr/local/bin/kubeadm");
        }
        usage(format!(
            "unknown command \"{}\"{}",
            masked(word),
            suggest::did_you_mean(word, known.iter().copied())
        ))
    }

    /// Flags of every command.
    fn common_flag(&mut self, flag: &str) -> Taken {
        match flag {
            "json" => self.common.json = self.words.switch(flag)?,
            "rootfs" => self.common.root = Root::at(self.words.path(flag)?),
            // kubeadm's flags for its log: accepted, without effect.
            "v" => self.words.skip_verbosity()?,
            "vmodule" => drop(self.words.value(flag)?),
            "add-dir-header" | "skip-headers" => drop(self.words.switch(flag)?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Reads the rest of the words: `flag` takes a flag of the command, `value` any other word. False when
    /// help is asked for.
    fn rest(
        &mut self,
        mut flag: impl FnMut(&str, &mut Words) -> Taken,
        mut value: impl FnMut(OsString) -> Result<()>,
    ) -> Taken {
        while let Some(word) = self.words.next()? {
            match word {
                Word::Value(word) => value(word)?,
                Word::Flag(name) if name == "h" || name == "help" => return Ok(false),
                Word::Flag(name) if self.common_flag(&name)? || flag(&name, &mut self.words)? => (),
                Word::Flag(name) => return Err(unknown_flag(&name, &self.help)),
            }
        }
        Ok(true)
    }

    /// The request, or the help of its command.
    fn done(&mut self, complete: bool, request: impl FnOnce(Common) -> Request) -> Request {
        if complete { request(self.common.clone()) } else { Request::Help(self.help.clone()) }
    }

    fn plain(&mut self, request: impl FnOnce(Common) -> Request) -> Result<Request> {
        let complete = self.rest(|_, _| Ok(false), |word| Err(unexpected(&word)))?;
        Ok(self.done(complete, request))
    }

    fn join(&mut self, request: impl FnOnce(Join) -> Request, is_either: bool) -> Result<Request> {
        let (mut flags, mut endpoints) = (JoinFlags { is_either, ..JoinFlags::default() }, Vec::new());
        let endpoint = |word: OsString| match word.into_string() {
            Ok(word) if word == "phase" => {
                Err(usage("single phases cannot be run").help("leave others out with --skip-phases"))
            }
            Ok(word) => {
                endpoints.push(word);
                Ok(())
            }
            Err(_) => Err(usage("the endpoint is not UTF-8")),
        };
        let complete = self.rest(|flag, words| join_flag(flag, words, &mut flags), endpoint)?;
        flags.endpoints = endpoints;
        if complete && flags.token.is_some() && flags.token_file.is_some() {
            return Err(usage("--token and --token-file cannot both be given"));
        }
        Ok(self.done(complete, |common| request(Join { common, flags })))
    }

    fn init(&mut self) -> Result<Request> {
        let mut flags = JoinFlags { init: Some(Vec::new()), ..JoinFlags::default() };
        let phase = |word: OsString| match word.to_str() {
            Some("phase") => {
                Err(usage("single phases cannot be run").help("leave others out with --skip-phases"))
            }
            _ => Err(unexpected(&word)),
        };
        let complete = self.rest(|flag, words| init_flag(flag, words, &mut flags), phase)?;
        Ok(self.done(complete, |common| Request::Join(Join { common, flags })))
    }

    fn status(&mut self) -> Result<Request> {
        let mut status = Status::default();
        let flag = |flag: &str, words: &mut Words| {
            match flag {
                "timeline" => status.timeline = words.switch(flag)?,
                "svg" => status.svg = Some(words.path(flag)?),
                _ => return Ok(false),
            }
            Ok(true)
        };
        let complete = self.rest(flag, |word| Err(unexpected(&word)))?;
        Ok(self.done(complete, |common| Request::Status(Status { common, ..status })))
    }

    fn reset(&mut self) -> Result<Request> {
        let mut reset = Reset::default();
        let complete =
            self.rest(|flag, words| reset_flag(flag, words, &mut reset), |word| Err(unexpected(&word)))?;
        Ok(self.done(complete, |common| Request::Reset(Reset { common, ..reset })))
    }

    fn config(&mut self) -> Result<Request> {
        let (mut action, mut file, mut by_flag) = (None, None, None);
        let value = |word: OsString| {
            match (&action, &file) {
                (None, _) => action = Some(word),
                (Some(_), None) => file = Some(PathBuf::from(word)),
                _ => return Err(unexpected(&word)),
            }
            Ok(())
        };
        let flag = |flag: &str, words: &mut Words| {
            if flag == "config" {
                by_flag = Some(words.path(flag)?);
            }
            Ok(flag == "config")
        };
        let complete = self.rest(flag, value)?;
        if complete && action.as_deref() != Some(OsStr::new("validate")) {
            return Err(usage("the only command below config is config validate"));
        }
        if file.is_some() && by_flag.is_some() {
            return Err(usage("the file is given twice"));
        }
        let file = file.or(by_flag).filter(|file| file != Path::new("-"));
        Ok(self.done(complete, |common| Request::ConfigValidate(ConfigValidate { common, file })))
    }

    fn install(&mut self) -> Result<Request> {
        let mut install = Install::default();
        let complete =
            self.rest(|flag, words| install_flag(flag, words, &mut install), |word| Err(unexpected(&word)))?;
        let Install { image, sha256, disk, overwrite, config, report, .. } = &install;
        let needs_image = [sha256.is_some(), disk.is_some(), *overwrite, config.is_some(), report.is_some()];
        if complete && image.is_none() && needs_image.contains(&true) {
            return Err(usage("--image is missing: without it the kernel command line says everything"));
        }
        Ok(self.done(complete, |common| Request::Install(Install { common, ..install })))
    }

    fn kubeadm_version(&mut self) -> Result<Request> {
        let mut output = VersionOutput::default();
        let flag = |flag: &str, words: &mut Words| {
            if !["o", "output"].contains(&flag) {
                return Ok(false);
            }
            output = match words.text(flag)?.as_str() {
                "short" => VersionOutput::Short,
                "json" => VersionOutput::Json,
                "yaml" => VersionOutput::Yaml,
                _ => return Err(usage("the output format is short, json or yaml")),
            };
            Ok(true)
        };
        let complete = self.rest(flag, |word| Err(unexpected(&word)))?;
        Ok(self.done(complete, |common| Request::KubeadmVersion(KubeadmVersion { common, output })))
    }
}

fn join_flag(flag: &str, words: &mut Words, flags: &mut JoinFlags) -> Taken {
    // kubeadm 1.20 and 1.21 had patches under this name.
    let flag = if flag == "experimental-patches" { "patches" } else { flag };
    let Some(name) = JOIN_FLAGS.iter().find(|name| **name == flag) else { return Ok(false) };
    flags.given.push(name);
    let secret = |words: &mut Words| words.text(flag).map(Secret::new).map(Some);
    match flag {
        "config" => flags.config = Some(words.path(flag)?),
        "token" => flags.token = secret(words)?,
        "token-file" => flags.token_file = Some(words.path(flag)?),
        "discovery-token" => flags.discovery_token = secret(words)?,
        "tls-bootstrap-token" => flags.tls_bootstrap_token = secret(words)?,
        "discovery-token-ca-cert-hash" => flags.ca_cert_hashes.extend(words.list(flag)?),
        "discovery-token-unsafe-skip-ca-verification" => {
            flags.unsafe_skip_ca_verification = words.switch(flag)?
        }
        "discovery-file" => flags.discovery_file = Some(words.text(flag)?),
        "node-name" => flags.node_name = Some(words.text(flag)?),
        "cri-socket" => flags.cri_socket = Some(words.text(flag)?),
        "patches" => flags.patches = Some(words.text(flag)?),
        "ignore-preflight-errors" => flags.ignore_preflight_errors.extend(words.list(flag)?),
        "skip-phases" => flags.skip_phases.get_or_insert_default().extend(words.list(flag)?),
        "dry-run" => flags.dry_run = Some(words.switch(flag)?),
        "control-plane" => flags.control_plane = words.switch(flag)?,
        "apiserver-advertise-address" => flags.advertise_address = Some(words.text(flag)?),
        "apiserver-bind-port" => {
            let port = words.text(flag)?;
            let wrong = |_| usage("--apiserver-bind-port: a number from 0 to 65535 is wanted");
            flags.bind_port = Some(port.parse().map_err(wrong)?);
        }
        "certificate-key" => flags.certificate_key = secret(words)?,
        _ => return Ok(false),
    }
    Ok(true)
}

/// Takes the flags that `kubeadm init` lets stand beside `--config`.
fn init_flag(flag: &str, words: &mut Words, flags: &mut JoinFlags) -> Taken {
    let word = match flag {
        "config" | "node-name" | "ignore-preflight-errors" | "dry-run" => {
            return join_flag(flag, words, flags);
        }
        "skip-phases" => Some(format!("--{flag}={}", words.list(flag)?.join(","))),
        "upload-certs" | "skip-token-print" | "skip-certificate-key-print" => {
            words.switch(flag)?.then(|| format!("--{flag}"))
        }
        _ => return Ok(false),
    };
    flags.init.get_or_insert_default().extend(word);
    Ok(true)
}

fn reset_flag(flag: &str, words: &mut Words, reset: &mut Reset) -> Taken {
    match flag {
        "f" | "force" => reset.force = words.switch(flag)?,
        "dry-run" => reset.dry_run = words.switch(flag)?,
        "cert-dir" => reset.cert_dir = Some(words.path(flag)?),
        "cleanup-tmp-dir" => reset.cleanup_tmp_dir = words.switch(flag)?,
        "config" => reset.config = Some(words.path(flag)?),
        "cri-socket" => reset.cri_socket = Some(words.text(flag)?),
        "ignore-preflight-errors" => reset.ignore_preflight_errors.extend(words.list(flag)?),
        "kubeconfig" => reset.kubeconfig = Some(words.path(flag)?),
        "skip-phases" => reset.skip_phases.extend(words.list(flag)?),
        _ => return Ok(false),
    }
    Ok(true)
}

fn install_flag(flag: &str, words: &mut Words, install: &mut Install) -> Taken {
    match flag {
        "list" => install.list = words.switch(flag)?,
        "image" => install.image = Some(words.text(flag)?),
        "sha256" => install.sha256 = Some(words.text(flag)?),
        "disk" => install.disk = Some(words.text(flag)?),
        "overwrite" => install.overwrite = words.switch(flag)?,
        "config" => install.config = Some(words.path(flag)?),
        "report" => install.report = Some(words.text(flag)?),
        "dry-run" => install.dry_run = words.switch(flag)?,
        _ => return Ok(false),
    }
    Ok(true)
}
