//! The timeline of a boot, from power-on to the end of the run, as text and as SVG.

use std::fmt::Write;

use super::Status;

/// A bar of the timeline, in seconds since the kernel's start.
#[derive(Debug, PartialEq)]
struct Bar {
    name: String,
    from: f64,
    to: f64,
    state: String,
}

/// The width of a text bar, in columns.
const COLUMNS: usize = 50;

/// In pixels: width of the area for bars, height of a row, width of the area for names.
const FIELD: f64 = 640.0;
const ROW: f64 = 22.0;
const NAMES: f64 = 130.0;

fn bars(status: &Status) -> Vec<Bar> {
    let boot = Bar { name: "boot".to_owned(), from: 0.0, to: status.began, state: "done".to_owned() };
    let phases = status.phases.iter().map(|phase| {
        let from = status.began + phase.began;
        let to = status.began
            + phase.seconds.map_or(status.seconds.max(phase.began), |seconds| phase.began + seconds);
        Bar { name: phase.name.clone(), from, to, state: phase.state.clone() }
    });
    std::iter::once(boot).chain(phases).collect()
}

fn end(bars: &[Bar]) -> f64 {
    bars.iter().map(|bar| bar.to).fold(0.001, f64::max)
}

/// The timeline as text, with one line per phase: name, start, duration, bar. The boot before the run has a
/// separate line and is not drawn to scale.
pub fn text(status: &Status) -> String {
    let bars = bars(status);
    let (start, end) = (status.began, end(&bars));
    let column = |at: f64| {
        (((at - start) / (end - start).max(0.001)) * COLUMNS as f64)
            .round()
            .clamp(0.0, COLUMNS as f64) as usize
    };
    let mut out = format!("{:<12} {:>9} {:>9}\n", "phase", "at", "took");
    for bar in &bars {
        let _ = write!(out, "{:<12} {:>8.3}s {:>8.3}s", bar.name, bar.from, bar.to - bar.from);
        if bar.from >= start {
            let (from, to) = (column(bar.from), column(bar.to).max(column(bar.from) + 1));
            let mark = if bar.state == "failed" { '!' } else { '█' };
            let _ = write!(out, "  {}{}", " ".repeat(from.min(COLUMNS)), mark.to_string().repeat(to - from));
        }
        if bar.state != "done" {
            let _ = write!(out, " {}", bar.state);
        }
        out.push('\n');
    }
    out
}

/// The timeline as SVG.
pub fn svg(status: &Status) -> String {
    let bars = bars(status);
    let end = end(&bars);
    let height = ROW * (bars.len() as f64 + 2.0);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{:.0}\" height=\"{height:.0}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n",
        NAMES + FIELD + 110.0
    );
    let title = format!(
        "{}: {:?} after {end:.1} s",
        status.node.as_deref().unwrap_or("this machine"),
        status.outcome
    );
    let _ = writeln!(out, "<text x=\"8\" y=\"15\" font-weight=\"bold\">{}</text>", escaped(&title));
    for (row, bar) in bars.iter().enumerate() {
        let y = ROW * (row as f64 + 1.0);
        let (x, width) = (NAMES + FIELD * bar.from / end, (FIELD * (bar.to - bar.from) / end).max(1.5));
        let colour = match bar.state.as_str() {
            "failed" => "#c62828",
            "running" => "#f9a825",
            _ if row == 0 => "#b0bec5",
            _ => "#2e7d32",
        };
        let _ = writeln!(out, "<text x=\"8\" y=\"{:.1}\">{}</text>", y + 15.0, escaped(&bar.name));
        let _ = writeln!(
            out,
            "<rect x=\"{x:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"14\" fill=\"{colour}\"/>",
            y + 4.0
        );
        let _ = writeln!(
            out,
            "<text x=\"{:.1}\" y=\"{:.1}\" fill=\"#555555\">{:.3} s</text>",
            x + width + 4.0,
            y + 15.0,
            bar.to - bar.from
        );
    }
    out + "</svg>\n"
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{Outcome, Phase};

    fn status() -> Status {
        let phase = |name: &str, began, seconds, state: &str| Phase {
            name: name.to_owned(),
            began,
            seconds,
            state: state.to_owned(),
        };
        Status {
            outcome: Outcome::Failed,
            node: Some("a<b".to_owned()),
            source: None,
            failure: None,
            phases: vec![phase("discovery", 0.5, Some(1.0), "done"), phase("identity", 1.5, None, "failed")],
            warnings: Vec::new(),
            requests: 0,
            bytes: 0,
            began: 10.0,
            seconds: 4.5,
        }
    }

    #[test]
    fn phases_follow_the_boot() {
        let bars = bars(&status());
        let spans: Vec<_> = bars.iter().map(|bar| (bar.name.as_str(), bar.from, bar.to)).collect();
        assert_eq!(spans, [("boot", 0.0, 10.0), ("discovery", 10.5, 11.5), ("identity", 11.5, 14.5)]);
    }

    #[test]
    fn text_shows_when_and_how_long() {
        let text = text(&status());
        assert!(text.contains("discovery      10.500s    1.000s"), "{text}");
        assert!(text.lines().last().unwrap().ends_with("! failed"), "{text}");
    }

    #[test]
    fn svg_is_escaped_and_has_a_bar_for_each_phase() {
        let svg = svg(&status());
        assert_eq!(svg.matches("<rect x=").count(), 3);
        assert!(svg.contains("a&lt;b") && !svg.contains("a<b"));
    }
}
