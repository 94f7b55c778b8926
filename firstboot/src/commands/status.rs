//! `firstboot status`: how the last run on this boot stands.

use std::path::Path;

use crate::error::{ErrorKind, Failure, Result};
use crate::host::files;
use crate::host::root::Root;
use crate::output::indented;
use crate::status::{self, Status, timeline};

/// The options of the output.
#[derive(Debug, Default)]
pub struct Options<'a> {
    pub(crate) json: bool,
    /// The time line instead of the summary.
    pub timeline: bool,
    /// A file to which the time line is drawn.
    pub svg: Option<&'a Path>,
}

/// Returns the output.
pub fn status(root: &Root, options: &Options) -> Result<String> {
    let status = status::read(root)?.ok_or_else(|| {
        Failure::new(ErrorKind::Source, format!("no run on this boot: {} does not exist", status::PATH))
            .help("start one: firstboot run")
    })?;
    if let Some(path) = options.svg {
        files::write(path, timeline::svg(&status).as_bytes(), files::PUBLIC)?;
    }
    if options.json {
        return serde_json::to_string_pretty(&status)
            .map(|text| text + "\n")
            .map_err(|error| Failure::new(ErrorKind::Internal, error.to_string()));
    }
    Ok(if options.timeline { timeline::text(&status) } else { summary(&status) })
}

fn summary(status: &Status) -> String {
    let mut lines = vec![format!("outcome   {}", word(status))];
    lines.extend(status.node.iter().map(|node| format!("node      {node}")));
    lines.extend(status.source.iter().map(|source| format!("config    from {source}")));
    lines.push(format!(
        "took      {:.3} s, {} requests, {} bytes from the API server",
        status.seconds, status.requests, status.bytes
    ));
    for phase in &status.phases {
        let took = phase.seconds.map(|seconds| format!(" {seconds:.3} s")).unwrap_or_default();
        lines.push(format!("  {:<12} {}{took}", phase.name, phase.state));
    }
    lines.extend(status.warnings.iter().map(|warning| format!("warning   {}", indented(warning, 2))));
    if let Some(reason) = &status.failure {
        let message = indented(&reason.message, 2);
        lines.push(format!("failure   {} (exit {}): {message}", reason.class, reason.exit));
        lines.extend(reason.help.iter().map(|help| format!("  help: {help}")));
    }
    lines.join("\n") + "\n"
}

/// The outcome as machines see it, too.
fn word(status: &Status) -> String {
    serde_json::to_value(status.outcome)
        .ok()
        .and_then(|value| value.as_str().map(str::to_owned))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Progress;

    #[test]
    fn shows_a_failure_with_its_help_and_draws_the_time_line() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path());
        assert!(status(&root, &Options::default()).unwrap_err().message.contains("no run on this boot"));
        let mut progress = Progress::begin(&root);
        progress.phase("discovery");
        progress.fail(&Failure::new(ErrorKind::Unreachable, "no answer").help("is the API server up?"));
        let text = status(&root, &Options::default()).unwrap();
        assert!(
            text.contains("failure   unreachable (exit 11): no answer\n  help: is the API server up?"),
            "{text}"
        );
        let svg = folder.path().join("line.svg");
        let text = status(&root, &Options { timeline: true, svg: Some(&svg), json: false }).unwrap();
        assert!(text.contains("discovery") && std::fs::read_to_string(svg).unwrap().contains("<svg"));
    }
}
