//! Progress bars on a terminal, plain lines elsewhere, nothing on request. Everything goes to standard error.

use std::io::IsTerminal;
use std::time::Duration;

use crate::address::said;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Shows progress. All steps of a command share it.
#[derive(Debug, Clone)]
pub struct Progress {
    bars: MultiProgress,
    mode: Mode,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Bars,
    Lines,
    Silent,
}

/// One running step; ends when dropped.
#[derive(Debug)]
pub struct Step {
    bar: ProgressBar,
}

impl Progress {
    /// Shows bars if standard error is a terminal, a line for each step otherwise, nothing if `quiet`.
    pub fn new(quiet: bool) -> Self {
        let mode = match (quiet, std::io::stderr().is_terminal()) {
            (true, _) => Mode::Silent,
            (false, true) => Mode::Bars,
            (false, false) => Mode::Lines,
        };
        let target =
            if mode == Mode::Bars { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        Self { bars: MultiProgress::with_draw_target(target), mode }
    }

    /// Shows nothing: for tests.
    pub fn silent() -> Self {
        Self::new(true)
    }

    /// A step of unknown length: a spinner.
    pub fn step(&self, title: &str) -> Step {
        self.line(title);
        let bar = self.bars.add(ProgressBar::new_spinner());
        bar.set_style(style("{spinner} {msg} {elapsed:>4}"));
        bar.set_message(title.to_owned());
        bar.enable_steady_tick(Duration::from_millis(120));
        Step { bar }
    }

    /// A step over `bytes` bytes.
    pub fn bytes(&self, title: &str, bytes: u64) -> Step {
        self.line(title);
        let bar = self.bars.add(ProgressBar::new(bytes));
        bar.set_style(style("{msg:32!} {bar:24} {bytes:>11} of {total_bytes:<11} {bytes_per_sec}"));
        bar.set_message(title.to_owned());
        Step { bar }
    }

    /// Prints a message that stays on the screen.
    pub fn line(&self, text: &str) {
        if self.mode == Mode::Lines {
            eprintln!("{}", said(text));
        }
    }

    /// Prints a message that stays on the screen, in every mode except quiet.
    pub fn note(&self, text: &str) {
        let text = said(text);
        match self.mode {
            Mode::Bars => self.bars.suspend(|| eprintln!("{text}")),
            Mode::Lines => eprintln!("{text}"),
            Mode::Silent => {}
        }
    }
}

impl Step {
    /// Moves the bar forward.
    pub fn advance(&self, bytes: u64) {
        self.bar.inc(bytes);
    }

    /// Sets the bar: a resumed download starts in the middle, a retry at the start.
    pub fn set(&self, bytes: u64) {
        self.bar.set_position(bytes);
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
