//! The text of `--help`. The flags in it are also the ones that are suggested for a misspelled flag.

/// `firstboot --help`
pub const OVERVIEW: &str = "\
Joins this machine to a Kubernetes cluster at its first boot.

Usage: firstboot [--json] [--rootfs DIR] <command> [...]

Commands:
  run               Find this machine's node config (JoinConfiguration) and join; runs at each boot
  join              Join a cluster by hand, with kubeadm join's flags
  init              Begin a control plane by hand: an image with the layer kubeadm runs the real one
  preflight         Check whether a join would work; change nothing
  explain           Show what a join would do, and where each value comes from; change nothing
  status            Show the progress or the result of the join
  reset             Undo a join
  config validate   Check a node config
  install           Write a disk image to a disk of this machine, from a system that lives in memory

`firstboot <command> --help` shows the options. Called through a link named kubeadm, it understands
kubeadm join, kubeadm init, kubeadm reset, kubeadm config validate and kubeadm version.

Options:
      --version     Print the version
";

const COMMON: &str = "
Options of every command:
      --json          Print JSON, one object per line
      --rootfs DIR    Use DIR as the root of the machine's file system; start no service
  -v, --v NUMBER      Accepted as kubeadm does; has no effect
  -h, --help          Print this help
";

const RUN: &str = "\
Finds this machine's node config, in user data or where the image or kernel command line names one, and joins
the cluster. Does nothing without a node config, or if the machine has joined. With a file: firstboot join.

Usage: firstboot run [options]
";

const JOIN_FLAGS: &str = "
What to join:
      --config FILE                  A node config: JoinConfiguration, YAML or JSON; - is standard input
      --token TOKEN                  The bootstrap token, for discovery and for the certificate. Every user of
                                     this machine can see it in the process list; --token-file and --config
                                     avoid that
      --token-file FILE              The same, read from a file
      --discovery-token TOKEN        The token, only for discovery
      --tls-bootstrap-token TOKEN    The token, only for the certificate
      --discovery-token-ca-cert-hash sha256:HASH
                                     The hash of the public key of the cluster's CA; may be repeated
      --discovery-token-unsafe-skip-ca-verification
                                     Trust the CA in cluster-info without checking its hash
      --discovery-file FILE|URL      A kubeconfig with the API server and its CA, or an https URL of one

This node:
      --node-name NAME               The name of the node; default: the host's name
      --cri-socket SOCKET            The socket of the container runtime; default: detected
      --patches DIR                  A folder of patches for the kubelet's configuration

How to join:
      --ignore-preflight-errors LIST Checks whose errors become warnings; all means every check
      --skip-phases LIST             Phases to skip; firstboot explain lists them
      --dry-run                      Show what would be done; change nothing

A control plane, on images with the layer kubeadm, whose kubeadm does the work:
      --control-plane, --apiserver-advertise-address IP, --apiserver-bind-port PORT, --certificate-key KEY

With --config, only --node-name, --ignore-preflight-errors, --skip-phases and --dry-run are allowed.
";

const INIT: &str = "\
Begins a control plane: completes the config with the facts of this machine, and runs the real kubeadm init, which
the layer kubeadm brings.

Usage: firstboot init --config FILE [options]

Options:
      --config FILE                  InitConfiguration or ClusterConfiguration, or both, YAML or JSON
      --node-name NAME               The name of the node; default: the host's name
      --ignore-preflight-errors LIST Checks whose errors become warnings; all means every check
      --dry-run                      Show what would be done; change nothing
      --skip-phases LIST, --upload-certs, --skip-token-print, --skip-certificate-key-print
                                     For kubeadm init
";

const STATUS: &str = "\
Shows the progress or the result of the join on this boot.

Usage: firstboot status [options]

Options:
      --timeline      Show when each step of the boot began and ended
      --svg FILE      Draw the timeline as a picture into FILE
";

const RESET: &str = "\
Undoes a join: stops the kubelet and removes the files of the join.

Usage: firstboot reset [options]

Options:
  -f, --force                        Do not ask for confirmation
      --dry-run                      Show what would be removed; change nothing
      --cert-dir DIR                 Remove kubeadm's certificates from DIR; default: /etc/kubernetes/pki
      --cleanup-tmp-dir              Also remove /etc/kubernetes/tmp
      --config FILE                  A ResetConfiguration
      --cri-socket SOCKET            The socket of the container runtime; default: detected
      --ignore-preflight-errors LIST Checks whose errors become warnings; all means every check
      --kubeconfig FILE              Accepted as kubeadm does; has no effect on a worker
      --skip-phases LIST             Phases to skip
";

const CONFIG_VALIDATE: &str = "\
Checks a node config without using it. Prints warnings, then ok, or the error (exit code 3).

Usage: firstboot config validate [FILE|-]

Options:
      --config FILE   Same as FILE
";

const INSTALL: &str = "\
Writes a disk image to a disk of this machine, verified while it is read, and reads it back. Without options it does
what the kernel command line asks for (firstboot.install=SOURCE and others), and restarts the machine.

Usage: firstboot install --image SOURCE [--disk RULE] [options]
       firstboot install --list
       firstboot install

Options:
      --image SOURCE  http(s)://.../NAME.raw.zst, LABEL=VOLUME/path/NAME.raw.zst or an absolute path; .raw.gz and
                      .raw are taken too. The block map NAME.raw.bmap is beside it
      --sha256 HEX    The SHA-256 of the block map; plain http needs it
      --disk RULE     Conditions with commas between them: id=GLOB, serial=GLOB, wwn=GLOB, model=GLOB,
                      path=/dev/..., bus=nvme|scsi|ata|virtio|usb, size>=100G, size<=2T, smallest, largest.
                      They must leave one disk; default: the only one without data
      --overwrite     The disk may hold data
      --config FILE   The node config of the installed system
      --report URL    POST there how it goes
      --dry-run       Say what would be done; change nothing
      --list          List the disks as rules see them
";

const KUBEADM: &str = "\
This kubeadm is firstboot. It understands:

  kubeadm join [host:port] [flags]
  kubeadm init --config FILE [flags]
  kubeadm reset [--force] [flags]
  kubeadm config validate [--config FILE]
  kubeadm version [-o short|json|yaml]
";

const KUBEADM_VERSION: &str = "\
Prints the Kubernetes version of this node.

Usage: kubeadm version [options]

Options:
  -o, --output FORMAT   short, json or yaml
";

/// The help of one command, or the overview for an unknown one.
pub fn of(command: &str) -> String {
    let join = |what: &str| {
        format!("{what}\n\nUsage: firstboot {command} [host:port] [options]\n{JOIN_FLAGS}{COMMON}")
    };
    match command {
        "run" => format!("{RUN}{COMMON}"),
        "join" => join("Joins this machine to a cluster as kubeadm join does."),
        "init" => format!("{INIT}{COMMON}"),
        "preflight" => join("Checks whether a join would work; changes nothing."),
        "explain" => join("Shows what a join would do, and where each value comes from; changes nothing."),
        "status" => format!("{STATUS}{COMMON}"),
        "reset" => format!("{RESET}{COMMON}"),
        "config" | "config validate" => format!("{CONFIG_VALIDATE}{COMMON}"),
        "install" => format!("{INSTALL}{COMMON}"),
        "kubeadm" => format!("{KUBEADM}{COMMON}"),
        "version" => format!("{KUBEADM_VERSION}{COMMON}"),
        _ => format!("{OVERVIEW}{COMMON}"),
    }
}
