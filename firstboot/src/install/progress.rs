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
    /// The bytes that hold data.
    mapped: u64,
    percent: u64,
    said: Option<Said>,
    /// When the first bytes of the step were done, and how many those were.
    since: Instant,
    before: u64,
}

/// The last line.
#[derive(Clone, Copy)]
struct Said {
    step: Step,
    part: u64,
    when: Instant,
}

impl<'a> Progress<'a> {
    /// Begins to report to the server at this URL.
    pub fn begin(installer: &'a Installer<'a>, url: Option<&str>) -> Self {
        let mut reports = Reports::to(url, installer.root, installer.line);
        reports.progress(0, "", "choosing the disk");
        let (disk, since) = (String::new(), Instant::now());
        Self { installer, reports, disk, mapped: 0, percent: 0, said: None, since, before: 0 }
    }

    /// The disk is known.
    pub fn begin_writing(&mut self, plan: &Plan) {
        (self.disk, self.mapped) = (plan.disk.display().to_string(), plan.mapped);
        let (size, mapped) = (rule::shown(plan.size), rule::shown(plan.mapped));
        let Plan { image, content, .. } = plan;
        (self.installer.say)(&format!(
            "installing {image} ({size}, {mapped} of it data) on {}, which holds {content}",
            self.disk
        ));
    }

    /// `done` bytes of data are written, or read back.
    pub fn step(&mut self, step: Step, done: u64) {
        let part = done * 100 / self.mapped.max(1);
        let (word, percent) = match step {
            Step::Writing => ("writing", part * WRITING / 100),
            Step::Checking => ("reading back", WRITING + part * (99 - WRITING) / 100),
        };
        self.percent = percent;
        self.reports.progress(percent, &self.disk, word);
        let speed = match self.said {
            Some(said) if said.step == step => {
                if part < said.part + STEP && said.when.elapsed() < LONGEST {
                    return;
                }
                let seconds = self.since.elapsed().as_secs_f64().max(0.001);
                format!(", {:.0} MB/s", (done - self.before) as f64 / 1e6 / seconds)
            }
            _ => {
                (self.since, self.before) = (Instant::now(), done);
                String::new()
            }
        };
        self.said = Some(Said { step, part, when: Instant::now() });
        (self.installer.say)(&format!("{word}: {part} %{speed}"));
        self.event("installing", word);
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
