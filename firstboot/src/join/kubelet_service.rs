//! The kubelet's service on Windows: its command line. Nothing else there reads kubeadm-flags.env, so the
//! agent writes its arguments into the service.

use super::service_line::{Programs, joined};

/// The priority of the process, so that the kubelet answers while pods take all processors.
const PRIORITY: &str = "--windows-priorityclass=ABOVE_NORMAL_PRIORITY_CLASS";

/// What the command line depends on.
pub struct Line<'a> {
    /// The kubelet and what is in front of it.
    pub programs: Programs<'a>,
    /// The drive of the system.
    pub drive: &'a str,
    /// The name of the node.
    pub node: &'a str,
    /// The words of kubeadm-flags.env.
    pub arguments: &'a [String],
}

/// The whole command line: the programs that the image names, then the arguments of the agent. An argument of
/// kubeadm-flags.env takes the place of one of the same name.
pub fn command_line(line: &Line) -> String {
    let mut words = line.programs.words();
    let fixed = own_arguments(line.drive, line.node)
        .into_iter()
        .filter(|own| !line.arguments.iter().any(|argument| name(argument) == name(own)));
    words.extend(fixed);
    words.extend(line.arguments.iter().cloned());
    joined(&words)
}

fn own_arguments(drive: &str, node: &str) -> Vec<String> {
    let mut words = vec![
        "--windows-service".to_owned(),
        format!(r"--cert-dir={drive}\var\lib\kubelet\pki"),
        format!(r"--config={drive}\var\lib\kubelet\config.yaml"),
        format!(r"--bootstrap-kubeconfig={drive}\etc\kubernetes\bootstrap-kubelet.conf"),
        format!(r"--kubeconfig={drive}\etc\kubernetes\kubelet.conf"),
        format!("--hostname-override={node}"),
    ];
    let others = [
        "--enable-debugging-handlers",
        "--cgroups-per-qos=false",
        "--enforce-node-allocatable=",
        "--resolv-conf=",
        PRIORITY,
    ];
    words.extend(others.map(str::to_owned));
    words
}

fn name(argument: &str) -> &str {
    argument.split('=').next().unwrap_or(argument)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REST: &str = r"--windows-service --cert-dir=C:\var\lib\kubelet\pki --config=C:\var\lib\kubelet\config.yaml --bootstrap-kubeconfig=C:\etc\kubernetes\bootstrap-kubelet.conf --kubeconfig=C:\etc\kubernetes\kubelet.conf --hostname-override=n1 --enable-debugging-handlers --cgroups-per-qos=false --enforce-node-allocatable= --resolv-conf= --windows-priorityclass=ABOVE_NORMAL_PRIORITY_CLASS --node-labels=a=b";

    fn made(before: Option<&str>, has_runner: bool, arguments: &[&str]) -> String {
        let arguments: Vec<String> = arguments.iter().map(|word| (*word).to_owned()).collect();
        command_line(&Line {
            programs: Programs {
                before,
                program: r"C:\k\kubelet.exe",
                log: r"C:\var\log\kubelet\kubelet.log",
                is_there: &|_| has_runner,
            },
            drive: "C:",
            node: "n1",
            arguments: &arguments,
        })
    }

    #[test]
    fn the_image_names_the_programs_and_the_agent_the_arguments() {
        for (before, has_runner, start) in [
            (None, false, r"C:\k\kubelet.exe"),
            (Some(r"D:\bin\kubelet.exe --windows-service --v=4"), false, r"D:\bin\kubelet.exe"),
            (
                Some(r#""C:\Program Files\k\kubelet.exe" --windows-service"#),
                true,
                r#""C:\Program Files\k\kube-log-runner.exe" --log-file=C:\var\log\kubelet\kubelet.log "C:\Program Files\k\kubelet.exe""#,
            ),
            (
                Some(r"C:\k\kube-log-runner.exe --log-file=C:\x.log C:\k\Kubelet.exe --old"),
                true,
                r"C:\k\kube-log-runner.exe --log-file=C:\x.log C:\k\Kubelet.exe",
            ),
        ] {
            let line = made(before, has_runner, &["--node-labels=a=b"]);
            assert_eq!(line, format!("{start} {REST}"));
            assert_eq!(made(Some(&line), has_runner, &["--node-labels=a=b"]), line, "again");
        }
    }

    #[test]
    fn an_argument_of_the_node_config_takes_the_place_of_the_agents() {
        let line = made(None, false, &["--hostname-override=other", "--resolv-conf=C:\\a b"]);
        assert!(
            !line.contains("n1") && line.ends_with(r#"--hostname-override=other "--resolv-conf=C:\a b""#),
            "{line}"
        );
    }
}
