//! The command line: types only.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use crate::base;
use crate::registry;

/// Bakes immutable Kubernetes node images.
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

const EXIT_CODES: &str = "Exit codes: 0 success, 1 defect of Kiln, 2 command line, 3 definition, 4 lock, 5 fetch, 6 verification, 7 archive, 8 tool, 9 file system";

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Build an image: lock if needed, fetch, pack, assemble, write the outputs
    Build(BuildArgs),
    /// Write or check the lock of a definition
    Lock(LockArgs),
    /// Fetch everything a lock names into the store, for builds without a network
    Fetch(FetchArgs),
    /// Show what a definition means and what a build would do
    Plan(PlanArgs),
    /// Show what is in a built image
    Inspect(InspectArgs),
    /// Simulate a platform's metadata service, and see what a machine there makes of user-data
    Simulate(SimulateArgs),
    /// Print the JSON Schema of image or layer definitions
    Schema(SchemaArgs),
    /// Print a completion script
    Completions {
        /// The shell.
        shell: Shell,
    },
}

/// Which image.
#[derive(Debug, Args)]
pub struct DefinitionArgs {
    /// The image definition
    #[arg(default_value = "images/debian-13.toml")]
    pub definition: PathBuf,
    /// Change one value: kubernetes=1.34.9, disk.var=2GiB, outputs=["raw"]
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,
    /// Folder of the layers [default: layers/ beside the definition's folder]
    #[arg(long, value_name = "DIR")]
    pub layers_dir: Option<PathBuf>,
    /// The lock file [default: beside the definition; with --set in the output folder]
    #[arg(long, value_name = "FILE")]
    pub lock: Option<PathBuf>,
}

/// How bytes are fetched.
#[derive(Debug, Args)]
pub struct FetchOptions {
    /// Use only what is in the store and in local mirrors
    #[arg(long)]
    pub offline: bool,
    /// Take addresses that begin with PREFIX from a mirror or a local folder instead
    #[arg(long = "mirror", value_name = "PREFIX=URL_OR_DIR")]
    pub mirrors: Vec<String>,
    /// Options of bases
    #[command(flatten)]
    pub base: base::Options,
    /// The content store [default: $KILN_CACHE, $XDG_CACHE_HOME/kiln or ~/.cache/kiln]
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
    /// Where the outputs go
    #[arg(long, value_name = "DIR", default_value = "out")]
    pub output_dir: PathBuf,
    /// Refuse to build when the lock is missing or does not match the definition
    #[arg(long)]
    pub locked: bool,
    /// The firstboot program to put into the image [default: the one beside kiln]
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
    /// Where --set builds keep their lock
    #[arg(long, value_name = "DIR", default_value = "out")]
    pub output_dir: PathBuf,
    /// Only say whether the lock matches the definition; exit code 4 when it does not
    #[arg(long)]
    pub check: bool,
    /// Take the newest packages that the distribution has
    #[arg(long)]
    pub upgrade: bool,
    /// Take the new checksum of LAYER/ARTIFACT although upstream replaced the file
    #[arg(long, value_name = "LAYER/ARTIFACT")]
    pub accept: Vec<String>,
    /// A table of known digests (tab-separated: url, digest_algorithm, digest), to lock without asking upstream
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
    /// Where --set builds keep their lock
    #[arg(long, value_name = "DIR", default_value = "out")]
    pub output_dir: PathBuf,
}

/// `kiln plan`
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// Which image.
    #[command(flatten)]
    pub definition: DefinitionArgs,
    /// The content store
    #[arg(long, value_name = "DIR")]
    pub cache_dir: Option<PathBuf>,
    /// Where --set builds keep their lock
    #[arg(long, value_name = "DIR", default_value = "out")]
    pub output_dir: PathBuf,
}

/// `kiln inspect`
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// The folder of a build, or its manifest.json
    #[arg(default_value = "out")]
    pub image: PathBuf,
    /// Also compare every file with SHA256SUMS
    #[arg(long)]
    pub verify: bool,
}

/// `kiln simulate`
#[derive(Debug, Args)]
pub struct SimulateArgs {
    /// The platform, as --list names it
    #[arg(long, value_name = "NAME", required_unless_present = "list")]
    pub platform: Option<String>,
    /// The user-data; - is standard input
    #[arg(long, value_name = "FILE")]
    pub user_data: Option<PathBuf>,
    /// Another value for a variable of the platform: zone=us-east-1f; an empty one takes it away
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,
    /// What goes wrong, as --list names it, for so many requests, for one path: throttled, stall=1, server-error=2@/latest/user-data
    #[arg(long = "fault", value_name = "NAME[=NUMBER][@PATH]")]
    pub faults: Vec<String>,
    /// Where to listen without a command
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// A machine with addresses of IPv6 only
    #[arg(long)]
    pub ipv6_only: bool,
    /// Run firstboot explain as the command
    #[arg(long, conflicts_with = "command")]
    pub explain: bool,
    /// The firstboot program for --explain [default: the one beside kiln]
    #[arg(long, value_name = "FILE", env = "KILN_FIRSTBOOT")]
    pub firstboot: Option<PathBuf>,
    /// Show the platforms with their variables, and the faults
    #[arg(long)]
    pub list: bool,
    /// Print the arguments that make a QEMU machine one of this platform, one a line
    #[arg(long)]
    pub qemu_arguments: bool,
    /// Write the platform's configuration drive, a FAT file system
    #[arg(long, value_name = "FILE")]
    pub drive: Option<PathBuf>,
    /// Write the machine's evidence into a folder, as {root} has it
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// A command to run where the platform's own addresses lead to the simulator; {root} stands for a folder with the machine's evidence
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// `kiln schema`
#[derive(Debug, Args)]
pub struct SchemaArgs {
    /// Which kind of definition
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
