//! What `--help` prints. The flags named here are those that a misspelled one is compared with.

/// `firstboot --help`
pub const OVERVIEW: &str = "\
Makes a machine a node of a Kubernetes cluster at its first boot.

Usage: firstboot [--json] [--rootfs DIR] <command> [...]

Commands:
  run               Find the metadata of this machine and do what it says; this is what the unit runs
  join              Join a cluster by hand, with kubeadm join's flags
  preflight         Only check whether a join would work
  explain           Say what a join would do, and where each value comes from
  status            Say how far this node is
  reset             Undo a join
  config validate   Check a node config

`firstboot <command> --help` says more. Called through a link named kubeadm, it understands
kubeadm join, kubeadm reset, kubeadm config validate and kubeadm version.

Options:
      --version     Print the version
";

const COMMON: &str = "
Options of every command:
      --json          Print JSON, one object per line
      --rootfs DIR    Work on the file system that begins at DIR
  -v, --v NUMBER      How much to log, as in kubeadm
  -h, --help          Print this help
";

const RUN: &str = "\
Finds the metadata of this machine and configures it; does nothing where there is none, or where it is done.

Usage: firstboot run [options]
";

const JOIN_FLAGS: &str = "
What to join:
      --config FILE                  A node config: JoinConfiguration, YAML or JSON; - is standard input
      --token TOKEN                  The bootstrap token, for discovery and for the certificate. The list of
                                     processes shows it to everyone on this machine: --token-file and
                                     --config do not
      --token-file FILE              The same, read from a file
      --discovery-token TOKEN        The token for discovery only
      --tls-bootstrap-token TOKEN    The token for the certificate only
      --discovery-token-ca-cert-hash sha256:HASH
                                     The public key of the cluster's CA; may be repeated
      --discovery-token-unsafe-skip-ca-verification
                                     Trust whichever CA cluster-info names
      --discovery-file FILE|URL      A kubeconfig that names the server and its CA, or its https URL

This node:
      --node-name NAME               The name of the node, else the host's
      --cri-socket SOCKET            The socket of the container runtime, else the one that is found
      --patches DIR                  A folder of patches for the kubelet's configuration

How to join:
      --ignore-preflight-errors LIST Checks whose errors are warnings; all for every one
      --skip-phases LIST             Phases to leave out
      --dry-run                      Say what would be done, change nothing

For a control plane, which is refused:
      --control-plane, --apiserver-advertise-address IP, --apiserver-bind-port PORT, --certificate-key KEY

Beside --config only --node-name, --ignore-preflight-errors, --skip-phases and --dry-run may stand.
";

const STATUS: &str = "\
Says how far this node is, from the status of its last run.

Usage: firstboot status [options]

Options:
      --timeline      When each step of the boot began and ended
      --svg FILE      Draw the timeline into FILE
";

const RESET: &str = "\
Undoes a join: what it wrote is removed, and the kubelet is stopped.

Usage: firstboot reset [options]

Options:
  -f, --force                        Do not ask
      --dry-run                      Say what would be removed, change nothing
      --cert-dir DIR                 The folder of certificates, else /etc/kubernetes/pki
      --cleanup-tmp-dir              Remove /etc/kubernetes/tmp too
      --config FILE                  A ResetConfiguration
      --cri-socket SOCKET            The socket of the container runtime, else the one that is found
      --ignore-preflight-errors LIST Checks whose errors are warnings; all for every one
      --kubeconfig FILE              Accepted as kubeadm does; a worker has no use for it
      --skip-phases LIST             Phases to leave out
";

const CONFIG_VALIDATE: &str = "\
Checks a node config without using it: prints warnings, then ok, or what is wrong (exit code 3).

Usage: firstboot config validate [FILE|-]

Options:
      --config FILE   The same as FILE
";

const KUBEADM: &str = "\
This kubeadm is firstboot, which joins workers. It understands:

  kubeadm join [host:port] [flags]
  kubeadm reset [--force] [flags]
  kubeadm config validate [--config FILE]
  kubeadm version [-o short|json|yaml]
";

const KUBEADM_VERSION: &str = "\
Prints the version of Kubernetes that this node joins with.

Usage: kubeadm version [options]

Options:
  -o, --output FORMAT   short, json or yaml
";

/// The help of one command; the overview for one that is not known.
pub fn of(command: &str) -> String {
    let join = |what: &str| {
        format!("{what}\n\nUsage: firstboot {command} [host:port] [options]\n{JOIN_FLAGS}{COMMON}")
    };
    match command {
        "run" => format!("{RUN}{COMMON}"),
        "join" => join("Joins this machine to a cluster as a worker, as kubeadm join does."),
        "preflight" => join("Checks whether a join would work; changes nothing."),
        "explain" => join("Says what a join would do, and where each value comes from; changes nothing."),
        "status" => format!("{STATUS}{COMMON}"),
        "reset" => format!("{RESET}{COMMON}"),
        "config" | "config validate" => format!("{CONFIG_VALIDATE}{COMMON}"),
        "kubeadm" => format!("{KUBEADM}{COMMON}"),
        "version" => format!("{KUBEADM_VERSION}{COMMON}"),
        _ => format!("{OVERVIEW}{COMMON}"),
    }
}
