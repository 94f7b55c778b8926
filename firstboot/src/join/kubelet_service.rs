//! The kubelet's service on Windows: its command line. Nothing else there reads kubeadm-flags.env, so the
//! agent writes its arguments into the service.

/// The priority of the process, so that the kubelet answers while pods take all processors.
const PRIORITY: &str = "--windows-priorityclass=ABOVE_NORMAL_PRIORITY_CLASS";
/// Writes the kubelet's log to a file; beside the kubelet in images with Kubernetes 1.23 and newer.
const LOG_RUNNER: &str = "kube-log-runner.exe";

/// What the command line depends on.
pub struct Line<'a> {
    /// The command line so far; none without a service.
    pub before: Option<&'a str>,
    /// The kubelet, where there is no service that names it.
    pub program: &'a str,
    /// The file of the log, and whether a program is there.
    pub log: &'a str,
    /// Whether this program is on the disk.
    pub is_there: &'a dyn Fn(&str) -> bool,
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
    let mut words = programs(line);
    let fixed = own_arguments(line.drive, line.node)
        .into_iter()
        .filter(|own| !line.arguments.iter().any(|argument| name(argument) == name(own)));
    words.extend(fixed);
    words.extend(line.arguments.iter().cloned());
    words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
}

/// The words of the command line so far up to the kubelet, which may have a program in front that writes its
/// log.
fn programs(line: &Line) -> Vec<String> {
    let mut words = split(line.before.unwrap_or_default());
    match words.iter().position(|word| file_name(word).eq_ignore_ascii_case("kubelet.exe")) {
        Some(at) => words.truncate(at + 1),
        None => words = vec![line.program.to_owned()],
    }
    let folder = words[0].strip_suffix(file_name(&words[0])).unwrap_or_default();
    let runner = format!("{folder}{LOG_RUNNER}");
    if words.len() == 1 && (line.is_there)(&runner) {
        words.splice(0..0, [runner, format!("--log-file={}", line.log)]);
    }
    words
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

fn file_name(path: &str) -> &str {
    path.rsplit(['/', '\\']).next().unwrap_or(path)
}

/// A word as Windows programs split command lines (CommandLineToArgvW): in quotes if it has blanks, with
/// backslashes doubled only in front of quotes.
fn quoted(word: &str) -> String {
    if !word.is_empty() && !word.contains([' ', '\t', '"']) {
        return word.to_owned();
    }
    let mut text = String::from("\"");
    let mut backslashes = 0;
    for letter in word.chars() {
        match letter {
            '\\' => backslashes += 1,
            '"' => {
                text.push_str(&"\\".repeat(backslashes + 1));
                backslashes = 0;
            }
            _ => backslashes = 0,
        }
        text.push(letter);
    }
    text.push_str(&"\\".repeat(backslashes));
    text.push('"');
    text
}

/// The words of a command line.
fn split(line: &str) -> Vec<String> {
    let (mut words, mut word) = (Vec::new(), None::<String>);
    let (mut is_quoted, mut backslashes) = (false, 0_usize);
    for letter in line.chars() {
        let is_escaped = backslashes % 2 == 1;
        match letter {
            '\\' => {
                backslashes += 1;
                word.get_or_insert_default().push(letter);
                continue;
            }
            '"' => {
                let word = word.get_or_insert_default();
                word.truncate(word.len() - backslashes.div_ceil(2));
                if is_escaped {
                    word.push('"');
                } else {
                    is_quoted = !is_quoted;
                }
            }
            ' ' | '\t' if !is_quoted => words.extend(word.take()),
            letter => word.get_or_insert_default().push(letter),
        }
        backslashes = 0;
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_is_split_into_the_words_that_it_was_made_of() {
        for words in [
            vec![r"C:\k\kubelet.exe", "--a=b", "--x="],
            vec![r"C:\Program Files\k\kubelet.exe", "", r"C:\with blank\"],
            vec![r#"say "hello" \"#, r#"a\\"b"#, r"\\server\share name\"],
        ] {
            let line = words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ");
            assert_eq!(split(&line), words, "{line}");
        }
        assert_eq!(split("  a\t\"b c\"d "), ["a", "b cd"]);
    }

    const REST: &str = r"--windows-service --cert-dir=C:\var\lib\kubelet\pki --config=C:\var\lib\kubelet\config.yaml --bootstrap-kubeconfig=C:\etc\kubernetes\bootstrap-kubelet.conf --kubeconfig=C:\etc\kubernetes\kubelet.conf --hostname-override=n1 --enable-debugging-handlers --cgroups-per-qos=false --enforce-node-allocatable= --resolv-conf= --windows-priorityclass=ABOVE_NORMAL_PRIORITY_CLASS --node-labels=a=b";

    fn made(before: Option<&str>, has_runner: bool, arguments: &[&str]) -> String {
        let arguments: Vec<String> = arguments.iter().map(|word| (*word).to_owned()).collect();
        command_line(&Line {
            before,
            program: r"C:\k\kubelet.exe",
            log: r"C:\var\log\kubelet\kubelet.log",
            is_there: &|_| has_runner,
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
