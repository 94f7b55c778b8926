//! How an installation goes: lines for the operator, objects for machines, reports for a server.

use std::time::{Duration, Instant};

use serde_json::json;

use super::report::Reports;
use super::writing::Step;
use super::{Installer, Plan, rule};
use crate::error::Result;

/// The part of an installation that writing is; the rest is reading back.
const WRITING: u64 = 80;
/// Percents between two lines.
const STEP: u64 = 10;
/// The longest time between two lines.
const LONGEST: Duration = Duration::from_secs(30);

/// The state of an installation.
pub struct Progress<'a> {
    installer: &'a Installer<'a>,
    reports: Reports,
    disk: String,
    size: u64,
    percent: u64,
    /// What the last line said, and when.
    said: (Option<(Step, u64)>, Instant),
    /// When the step began.
    since: Instant,
}

impl<'a> Progress<'a> {
    /// Begins to report to the server at this URL.
    pub fn begin(installer: &'a Installer<'a>, url: Option<&str>) -> Self {
        let mut reports = Reports::to(url, installer.root, installer.line);
        reports.progress(0, "", "choosing the disk");
        let now = Instant::now();
        Self { installer, reports, disk: String::new(), size: 0, percent: 0, said: (None, now), since: now }
    }

    /// The disk is known.
    pub fn begin_writing(&mut self, plan: &Plan) {
        (self.disk, self.size) = (plan.disk.display().to_string(), plan.size);
        let (size, mapped) = (rule::shown(plan.size), rule::shown(plan.mapped));
        let Plan { image, content, .. } = plan;
        (self.installer.say)(&format!(
            "installing {image} ({size}, {mapped} of it data) on {}, which holds {content}",
            self.disk
        ));
        self.since = Instant::now();
    }

    /// `done` bytes of the image are written, or read back.
    pub fn step(&mut self, step: Step, done: u64) {
        let part = done * 100 / self.size.max(1);
        let (word, percent) = match step {
            Step::Writing => ("writing", part * WRITING / 100),
            Step::Checking => ("reading back", WRITING + part * (99 - WRITING) / 100),
        };
        self.percent = percent;
        let is_due = match self.said {
            (Some((last, said)), when) if last == step => part >= said + STEP || when.elapsed() >= LONGEST,
            _ => {
                self.since = Instant::now();
                true
            }
        };
        self.reports.progress(percent, &self.disk, word);
        if is_due {
            self.said = (Some((step, part)), Instant::now());
            let seconds = self.since.elapsed().as_secs_f64().max(0.001);
            let line = format!("{word}: {part} %, {:.0} MB/s", done as f64 / 1e6 / seconds);
            (self.installer.say)(&line);
            self.event("installing", word);
        }
    }

    /// The end of the installation.
    pub fn end(mut self, ended: &Result<Plan>) {
        let (phase, message) = match ended {
            Ok(plan) => {
                self.percent = 100;
                ("installed", format!("{} is on {}", plan.image, self.disk))
            }
            Err(failure) => ("failed", failure.message.clone()),
        };
        if ended.is_ok() {
            (self.installer.say)(&message);
        }
        self.event(phase, &message);
        self.reports.end(phase, self.percent, &self.disk, &message);
    }

    fn event(&self, phase: &str, message: &str) {
        if let Some(event) = self.installer.event {
            let Self { percent, disk, .. } = self;
            event(
                &json!({ "event": "install", "phase": phase, "percent": percent, "disk": disk, "message": message }),
            );
        }
    }
}
