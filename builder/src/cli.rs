//! The command line: types only.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use crate::base;
use crate::definition::plan::Arch;
use crate::definition::snapshot::Wanted;
use crate::definition::value::Size;
use crate::lint::System;
use crate::qemu::{Bus, Firmware};
use crate::registry;

/// Builds immutable Kubernetes node images.
#[derive(Debug, Parser)]
#[command(name = "kiln", version, after_help = EXIT_CODES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
    /// Print results as JSON on standard output.
    #[arg(long, global = true)]
    pub json: bool,
    /// Show no progress.
    #[arg(long, short, global = true)]
    pub quiet: bool,
}

const EXIT_CODES: &str = "\
Start with `kiln plan`, then `kiln build`: both use images/debian-13.toml unless you name another definition.

Exit codes: 0 success, 1 bug in Kiln, 2 command line, 3 definition, 4 lock, 5 fetch, 6 verification,
            7 archive, 8 tool, 9 file system, 10 found (outdated, audit, verify; diff --exit-code)";

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Build an image: update the lock file if needed, fetch, and write the outputs into out/
    Build(BuildArgs),
    /// Write or check the lock file, which pins every input of a build
    Lock(LockArgs),
    /// Download everything that the lock file names into the store, for builds without a network
    Fetch(FetchArgs),
    /// Show in what two images differ: lock files, output folders, finished images
    Diff(DiffArgs),
    /// Show what is newer than the lock file; exit code 10 if something is
    Outdated(OutdatedArgs),
    /// Show the known vulnerabilities of what the lock file pins; exit code 10 if there are some
    Audit(AuditArgs),
    /// Make or check a folder with every file of a lock, for builds without a network
    #[command(subcommand)]
    Mirror(MirrorVerb),
    /// Start a layer of your own, or check one
    #[command(subcommand)]
    Layer(LayerVerb),
    /// Show what a definition means and what a build would do
    Plan(PlanArgs),
    /// Show what is in a built image
    Inspect(InspectArgs),
    /// Check a finished image offline: credentials, identity, leftovers, ways in, what a node needs
    Verify(VerifyArgs),
    /// Boot a built image in QEMU, with its console in the terminal; Ctrl-A X ends it
    Run(RunArgs),
    /// Boot a built image in QEMU and run the tests of its definition; exit code 6 if one fails
    Test(TestArgs),
    /// Simulate a platform's metadata service, to try user data without a machine
    Simulate(SimulateArgs),
    /// Boot machines from the network: scripts, images, node configs, reports and a status page over HTTP
    Serve(Box<ServeArgs>),
    /// Print the JSON Schema of image or layer definitions
    Schema(SchemaArgs),
    /// Print a shell completion script
    Completions {
        /// The shell.
        shell: Shell,
    },
}

/// Which image.
#[derive(Debug, Clone, Args)]
pub struct DefinitionArgs {
    /// The image definition
    #[arg(default_value = "images/debian-13.toml")]
    pub definition: PathBuf,
    /// Change one value: kubernetes=1.34.9, disk.var=2GiB, outputs=["raw"]
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,
    /// The folder of the layers [default: layers/ beside the definition's folder]
    #[arg(long, value_name = "DIR")]
    pub layers_dir: Option<PathBuf>,
    /// The lock file [default: NAME.lock beside the definition, or in the output folder if --set is used]
    #[arg(long, value_name = "FILE")]
    pub lock: Option<PathBuf>,
}

/// How bytes are fetched.
#[derive(Debug, Args)]
pub struct FetchOptions {
    /// Use no network: only the store and local mirrors
    #[arg(long)]
    pub offline: bool,
    /// Fetch URLs that begin with PREFIX from this URL or local folder instead
    #[arg(long = "mirror", value_name = "PREFIX=URL_OR_DIR")]
    pub mirrors: Vec<String>,
    /// Take checksum files from servers without TLS too when a lock file is written
    #[arg(long)]
    pub allow_unauthenticated_checksums: bool,
    /// Options of bases
    #[command(flatten)]
    pub base: base::Options,
    /// Folder of the store, with all downloads [default: $KILN_CACHE, $XDG_CACHE_HOME/kiln or ~/.cache/kiln]
    #[arg(long, value_name = "DIR")]
    pub cache_dir: Option<PathBuf>,
}

/// `kiln build`
#[derive(Debug, Args)]
#[command(after_help = registry::outputs_help())]
pub struct BuildArgs {
    /// Which image.
    #[command(flatten)]
    pub definition: DefinitionArgs,
    /// How bytes are fetched.
    #[command(flatten)]
    pub fetch: FetchOptions,
    /// The folder for the outputs
    #[arg(long, value_name = "DIR", default_value = "out")]
    pub output_dir: PathBuf,
    /// Refuse to build if the lock file is missing or does not match the definition
    #[arg(long)]
    pub locked: bool,
    /// The firstboot program to put into the image [default: beside kiln, firstboot; firstboot-ARCH if the
    /// image is for another architecture than this machine's]
    #[arg(long, value_name = "FILE", env = "KILN_FIRSTBOOT")]
    pub firstboot: Option<PathBuf>,
}

/// `kiln lock`
#[derive(Debug, Args)]
pub struct LockArgs {
    /// Which image.
    #[command(flatten)]
    pub definition: DefinitionArgs,
    /// How bytes are fetched.
    #[command(flatten)]
    pub fetch: FetchOptions,
    /// The folder for the lock file if --set is used
    #[arg(long, value_name = "DIR", default_value = "out")]
    pub output_dir: PathBuf,
    /// Only check whether the lock file matches the definition; exit code 4 if it does not
    #[arg(long)]
    pub check: bool,
    /// Take the newest packages of the distribution, and choose the versions that the definition leaves open
    /// anew; with names of packages or of their sources, move only those packages
    #[arg(long, value_name = "NAME,…", num_args = 0..=1, require_equals = true, value_delimiter = ',')]
    pub upgrade: Option<Vec<String>>,
    /// Take the distribution's packages as they are now (latest) or were at a time, such as 20261101T000000Z,
    /// from its snapshot service
    #[arg(long, value_name = "latest|TIME", conflicts_with = "check")]
    pub snapshot: Option<Wanted>,
    /// Accept that upstream replaced this file: take its new checksum
    #[arg(long, value_name = "LAYER/ARTIFACT")]
    pub accept: Vec<String>,
    /// Take digests from a table instead of asking upstream (tab-separated: url, digest_algorithm, digest)
    #[arg(long, value_name = "FILE")]
    pub digests: Option<PathBuf>,
}

/// `kiln fetch`
#[derive(Debug, Args)]
pub struct FetchArgs {
    /// Which image.
    #[command(flatten)]
    pub definition: DefinitionArgs,
    /// How bytes are fetched.
    #[command(flatten)]
    pub fetch: FetchOptions,
    /// The folder for the lock file if --set is used
    #[arg(long, value_name = "DIR", default_value = "out")]
    pub output_dir: PathBuf,
}

/// `kiln diff`
#[derive(Debug, Args)]
pub struct DiffArgs {
    /// The older one: a lock file, the output folder of a build, its manifest.json, or an image that
    /// kiln verify reads
    #[arg(value_name = "OLD")]
    pub old: PathBuf,
    /// The newer one
    #[arg(value_name = "NEW")]
    pub new: PathBuf,
    /// Write everything into this file too, as one page of HTML
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Exit with 10 if they differ
    #[arg(long)]
    pub exit_code: bool,
    /// The architecture of images [default: what the manifest beside each says, else this machine's]
    #[arg(long, value_name = "ARCH", value_parser = arch)]
    pub arch: Option<Arch>,
    /// Which image of a WIM with several: its edition, name or number
    #[arg(long, value_name = "NAME")]
    pub edition: Option<String>,
}

/// `kiln outdated`
#[derive(Debug, Args)]
pub struct OutdatedArgs {
    /// Which image.
    #[command(flatten)]
    pub definition: DefinitionArgs,
    /// How bytes are fetched.
    #[command(flatten)]
    pub fetch: FetchOptions,
    /// The folder of the lock file if --set is used
    #[arg(long, value_name = "DIR", default_value = "out")]
    pub output_dir: PathBuf,
}

/// `kiln audit`
#[derive(Debug, Args)]
pub struct AuditArgs {
    /// Which image.
    #[command(flatten)]
    pub definition: DefinitionArgs,
    /// The folder of the lock file if --set is used
    #[arg(long, value_name = "DIR", default_value = "out")]
    pub output_dir: PathBuf,
    /// A copy of an OSV database: a folder of records, or a zip file as osv.dev exports it; may be repeated
    #[arg(long = "database", value_name = "PATH", required = true)]
    pub databases: Vec<PathBuf>,
    /// A file with vulnerabilities that do not count, each with a reason
    #[arg(long, value_name = "FILE")]
    pub ignore: Option<PathBuf>,
    /// Leave out vulnerabilities that no version fixes yet
    #[arg(long)]
    pub only_fixed: bool,
}

/// `kiln mirror`
#[derive(Debug, Subcommand)]
pub enum MirrorVerb {
    /// Make a mirror of the lock, or bring one up to date: other files in a mirror are removed, other folders
    /// are refused
    Create(Box<MirrorCreateArgs>),
    /// Compare every file of a mirror with its index; exit code 6 if one differs
    Verify(MirrorVerifyArgs),
}

/// `kiln mirror create`
#[derive(Debug, Args)]
pub struct MirrorCreateArgs {
    /// The folder of the mirror
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
    /// Which image.
    #[command(flatten)]
    pub definition: DefinitionArgs,
    /// More image definitions, whose files the mirror has too
    #[arg(value_name = "DEFINITION", conflicts_with = "lock")]
    pub more: Vec<PathBuf>,
    /// How bytes are fetched.
    #[command(flatten)]
    pub fetch: FetchOptions,
    /// The folder of the lock file if --set is used
    #[arg(long, value_name = "DIR", default_value = "out")]
    pub output_dir: PathBuf,
    /// Sign the index with this key of gpg (a fingerprint or a name)
    #[arg(long, value_name = "KEY")]
    pub sign_key: Option<String>,
}

/// `kiln mirror verify`
#[derive(Debug, Args)]
pub struct MirrorVerifyArgs {
    /// The folder of the mirror
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
    /// A file of OpenPGP keys, one of which must have signed the index
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
}

/// `kiln layer`
#[derive(Debug, Subcommand)]
pub enum LayerVerb {
    /// Start a layer that `kiln layer check` has nothing against
    New(LayerNewArgs),
    /// Show what is probably wrong with layers, without an image; exit code 3 if something is
    Check(LayerCheckArgs),
}

/// `kiln layer new`
#[derive(Debug, Args)]
pub struct LayerNewArgs {
    /// Its name, that of a new folder
    #[arg(value_name = "NAME")]
    pub name: String,
    /// The folder in which to make it: one of your own, or layers/
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub into: PathBuf,
    /// For which system it is [default: windows if its name begins with windows-, else linux]
    #[arg(long, value_enum)]
    pub os: Option<System>,
}

/// `kiln layer check`
#[derive(Debug, Args)]
pub struct LayerCheckArgs {
    /// The folders of layers
    #[arg(value_name = "DIR", required = true)]
    pub folders: Vec<PathBuf>,
    /// Do not show unit files to this machine's systemd-analyze
    #[arg(long)]
    pub no_systemd: bool,
}

/// `kiln plan`
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// Which image.
    #[command(flatten)]
    pub definition: DefinitionArgs,
    /// Folder of the store, with all downloads
    #[arg(long, value_name = "DIR")]
    pub cache_dir: Option<PathBuf>,
    /// The folder for the lock file if --set is used
    #[arg(long, value_name = "DIR", default_value = "out")]
    pub output_dir: PathBuf,
}

/// `kiln inspect`
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// The output folder of a build, or its manifest.json; with --map also an image that kiln verify reads
    #[arg(default_value = "out")]
    pub image: PathBuf,
    /// Also check every file against SHA256SUMS
    #[arg(long)]
    pub verify: bool,
    /// Draw the sizes of layers and folders into FILE, which ends in .svg or .html
    #[arg(long, value_name = "FILE", value_parser = map_file)]
    pub map: Option<PathBuf>,
    /// Which image of a WIM with several: its edition, name or number
    #[arg(long, value_name = "NAME")]
    pub edition: Option<String>,
}

/// `kiln verify`
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// A disk (raw, qcow2, fixed VHD), a root file system (squashfs, tar, OCI layout), an image of Windows
    /// (WIM, or a disk; also VHDX), or the output folder of a build
    #[arg(default_value = "out")]
    pub image: PathBuf,
    /// Ask the rules of a benchmark instead of Kiln's own checks
    #[arg(long, value_enum)]
    pub profile: Option<Profile>,
    /// Accept what a check finds: CHECK, or CHECK:/PATH; with --profile the number of a rule
    #[arg(long = "allow", value_name = "CHECK[:/PATH]")]
    pub allowed: Vec<String>,
    /// The architecture [default: what the manifest beside the image says, else this machine's]
    #[arg(long, value_name = "ARCH", value_parser = arch)]
    pub arch: Option<Arch>,
    /// Which image of a WIM with several: its edition, name or number
    #[arg(long, value_name = "NAME")]
    pub edition: Option<String>,
}

/// A benchmark.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub enum Profile {
    /// CIS's for the nodes of Kubernetes and for Linux
    Cis,
}

/// A machine in QEMU.
#[derive(Debug, Args)]
pub struct MachineArgs {
    /// What starts the machine
    #[arg(long, value_enum, default_value = "uefi")]
    pub firmware: Firmware,
    /// How it reaches its disk
    #[arg(long, value_enum, default_value = "virtio")]
    pub bus: Bus,
    /// Emulate the processor even where this host could virtualise it (/dev/kvm)
    #[arg(long)]
    pub emulate: bool,
    /// Processors
    #[arg(long, value_name = "NUMBER", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    pub cpus: u32,
    /// Memory; a boot from the network keeps the whole root in it
    #[arg(long, value_name = "SIZE", default_value = "3GiB", value_parser = size)]
    pub memory: Size,
    /// The size of the disk; an image that is larger stays as large as it is
    #[arg(long, value_name = "SIZE", default_value = "10GiB", value_parser = size)]
    pub disk: Size,
    /// A node config (JoinConfiguration, cloud-config, Ignition, …), handed to the agent by the firmware
    #[arg(long, value_name = "FILE")]
    pub node_config: Option<PathBuf>,
}

/// `kiln run`
#[derive(Debug, Args)]
pub struct RunArgs {
    /// A disk image, a folder NAME-pxe, or the output folder of a build. It is not changed
    #[arg(default_value = "out")]
    pub image: PathBuf,
    /// The machine.
    #[command(flatten)]
    pub machine: MachineArgs,
    /// The architecture [default: what the manifest beside the image says, else this machine's]
    #[arg(long, value_name = "ARCH", value_parser = arch)]
    pub arch: Option<Arch>,
    /// Keep what the machine writes in this file (qcow2), and go on with it if it is there
    #[arg(long, value_name = "FILE")]
    pub keep: Option<PathBuf>,
    /// Connections to a port of this host reach a port of the machine
    #[arg(long = "forward", value_name = "[ADDRESS:]HOST:GUEST")]
    pub forwards: Vec<String>,
    /// Simulate this platform around the machine (kiln simulate --list)
    #[arg(long, value_name = "NAME")]
    pub platform: Option<String>,
    /// The platform's user data
    #[arg(long, value_name = "FILE", requires = "platform")]
    pub user_data: Option<PathBuf>,
    /// Set a variable of the platform
    #[arg(long = "set", value_name = "KEY=VALUE", requires = "platform")]
    pub sets: Vec<String>,
    /// End with success as soon as the console shows this text; with 6 if it does not
    #[arg(long, value_name = "TEXT")]
    pub until: Option<String>,
    /// With --until: how long to wait, in seconds or such as 90s, 10m, 1h
    #[arg(long, value_name = "TIME", default_value = "600", value_parser = seconds, requires = "until")]
    pub timeout: u64,
    /// Print QEMU's command line, one word a line, and do not start it
    #[arg(long, conflicts_with_all = ["platform", "until"])]
    pub print: bool,
    /// More arguments for QEMU
    #[arg(last = true, value_name = "ARGUMENT")]
    pub more: Vec<OsString>,
}

/// Seconds of a text such as `600`, `90s`, `10m` or `1h`.
fn seconds(text: &str) -> Result<u64, String> {
    let end = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = [("", 1), ("s", 1), ("m", 60), ("h", 3600)].into_iter().find(|(name, _)| *name == unit);
    let found = unit.and_then(|(_, unit)| number.parse::<u64>().ok()?.checked_mul(unit));
    found.ok_or_else(|| "write seconds, or a number with s, m or h behind it, such as 10m".to_owned())
}

fn map_file(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    let is_known = path.extension().is_some_and(|end| end == "svg" || end == "html");
    if is_known { Ok(path) } else { Err("its name must end in .svg or .html".to_owned()) }
}

/// `kiln test`
#[derive(Debug, Args)]
pub struct TestArgs {
    /// The output folder of a build, or a disk in it. It is not changed
    #[arg(default_value = "out")]
    pub image: PathBuf,
    /// The machine.
    #[command(flatten)]
    pub machine: MachineArgs,
    /// How long the machine may take until the first test begins, in seconds or such as 90s, 10m, 1h
    #[arg(long, value_name = "TIME", default_value = "600", value_parser = seconds)]
    pub timeout: u64,
    /// Write the machine's console into this file
    #[arg(long, value_name = "FILE")]
    pub console: Option<PathBuf>,
    /// More arguments for QEMU
    #[arg(last = true, value_name = "ARGUMENT")]
    pub more: Vec<OsString>,
}

fn size(text: &str) -> Result<Size, String> {
    Size::try_from(text.to_owned())
}

fn arch(text: &str) -> Result<Arch, String> {
    Arch::named(text).ok_or_else(|| "write amd64 or arm64".to_owned())
}

/// `kiln simulate`
#[derive(Debug, Args)]
pub struct SimulateArgs {
    /// The platform; --list shows all
    #[arg(long, value_name = "NAME", required_unless_present = "list")]
    pub platform: Option<String>,
    /// The user data; - is standard input
    #[arg(long, value_name = "FILE")]
    pub user_data: Option<PathBuf>,
    /// Set a variable of the platform, such as zone=us-east-1f; an empty value removes it
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,
    /// Make requests fail: throttled, stall=1 (one request), server-error=2@/latest/user-data (two requests
    /// for that path); --list shows all
    #[arg(long = "fault", value_name = "NAME[=NUMBER][@PATH]")]
    pub faults: Vec<String>,
    /// The address to listen at if there is no command
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// Simulate a machine with only IPv6 addresses
    #[arg(long)]
    pub ipv6_only: bool,
    /// Run `firstboot explain`: show what the agent would do on such a machine
    #[arg(long, conflicts_with = "command")]
    pub explain: bool,
    /// The firstboot program for --explain [default: the one beside kiln]
    #[arg(long, value_name = "FILE", env = "KILN_FIRSTBOOT")]
    pub firstboot: Option<PathBuf>,
    /// List the platforms with their variables, and the faults
    #[arg(long)]
    pub list: bool,
    /// Print QEMU arguments for a machine that looks like one of this platform, one per line
    #[arg(long)]
    pub qemu_arguments: bool,
    /// Write the platform's config drive, a FAT file system, into FILE
    #[arg(long, value_name = "FILE")]
    pub drive: Option<PathBuf>,
    /// Write the machine's evidence (firmware strings, kernel command line, …) into a folder
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// Run a command in a namespace where the platform's addresses lead to the simulator; {root} is replaced
    /// by the folder with the machine's evidence
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// `kiln serve`
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// The output folder of a build, with the output pxe
    #[arg(default_value = "out")]
    pub folder: PathBuf,
    /// Where to listen for plain HTTP
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,
    /// Where to listen for HTTPS, to which machines report how their join ended
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub https_listen: Option<SocketAddr>,
    /// The URL by which machines reach the server [default: the address at which each one did]
    #[arg(long, value_name = "http://NAME:PORT")]
    pub url: Option<String>,
    /// Node configs: a folder with MAC.yaml, UUID.yaml, SERIAL.yaml or default.yaml (the first that a machine
    /// has is its own), or one file for all
    #[arg(long, value_name = "DIR|FILE")]
    pub config: Option<PathBuf>,
    /// The folder for what is remembered: machines and what they took, the CA of the reports [default: none,
    /// forgotten at the end]
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// Forget a machine at the start, as if it had never asked: it boots the image again, and is installed
    /// again
    #[arg(long, value_name = "MAC|UUID", requires = "state")]
    pub forget: Vec<String>,
    /// A machine boots from its disk once its config was taken
    #[arg(long, requires = "config", conflicts_with = "install")]
    pub once: bool,
    /// Install the image on the disk for which this rule holds, such as size>=100G,smallest (conditions with
    /// commas between them: id=, serial=, wwn=, model=, path=, bus=, size>=, size<=, smallest, largest); an
    /// installed machine boots from its disk
    #[arg(long, value_name = "RULE")]
    pub install: Option<String>,
    /// The installation may overwrite a disk with data: of every machine that asks and is not known as
    /// installed, so keep it with --state
    #[arg(long, requires = "install")]
    pub install_overwrite: bool,
    /// iPXE, for firmware that loads it by HTTP: served by its name, such as /ipxe.efi
    #[arg(long, value_name = "FILE")]
    pub ipxe: Vec<PathBuf>,
    /// How many connections one address may have: more for a rack behind address translation
    #[arg(long, value_name = "NUMBER", default_value = "64")]
    pub connections_per_address: NonZeroUsize,
    /// Append a line for each request to this file [default: standard output]
    #[arg(long, value_name = "FILE")]
    pub access_log: Option<PathBuf>,
    /// The command that prints a bootstrap token, which takes the place of ${token}, for each machine anew;
    /// all words that follow belong to it
    #[arg(long, value_name = "COMMAND", num_args = 1.., allow_hyphen_values = true, requires = "config")]
    pub token_command: Vec<String>,
}

/// `kiln schema`
#[derive(Debug, Args)]
pub struct SchemaArgs {
    /// The kind of definition
    #[arg(value_enum, default_value = "image")]
    pub kind: SchemaKind,
}

/// Kinds of definitions.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub enum SchemaKind {
    /// `images/NAME.toml`
    Image,
    /// `layers/NAME/layer.toml`
    Layer,
}
