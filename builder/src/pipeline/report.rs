//! The closing summary of a build, as text and as JSON.

use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use indicatif::{DecimalBytes, HumanDuration};
use serde::Serialize;

use crate::columns::widest;
use crate::definition::plan::ImagePlan;
use crate::digest::Digest;
use crate::error::Result;
use crate::fetch::FetchedFile;
use crate::layer::PackedLayer;
use crate::output::sums::Sum;

/// Seconds per step, in order.
#[derive(Debug, Default)]
pub struct Timer(Vec<StepTime>);

/// How long a step took.
#[derive(Debug, Clone, Serialize)]
pub struct StepTime {
    pub step: String,
    pub seconds: f64,
}

impl Timer {
    /// Runs and times one step.
    pub fn step<T>(&mut self, name: &str, run: impl FnOnce() -> Result<T>) -> Result<T> {
        let start = Instant::now();
        let result = run()?;
        self.record(name, start.elapsed());
        Ok(result)
    }

    /// Adds a step that was timed elsewhere.
    pub fn record(&mut self, name: &str, elapsed: Duration) {
        self.0.push(StepTime { step: name.to_owned(), seconds: round(elapsed) });
    }
}

fn round(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round() / 1000.0
}

/// The summary of a build.
#[derive(Debug, Serialize)]
pub struct Report {
    pub image: String,
    pub kubernetes: String,
    pub identity: Digest,
    /// The layers, the base first; `cached` says whether they were there before.
    pub layers: Vec<PackedLayer>,
    /// Bytes fetched from elsewhere.
    pub fetched_bytes: u64,
    /// How many artifacts and packages were fetched.
    pub fetched: usize,
    /// How many were in the store already.
    pub in_store: usize,
    pub files: Vec<Sum>,
    pub outputs: Vec<PathBuf>,
    /// Seconds per step. Outputs are written at the same time, so theirs overlap.
    pub steps: Vec<StepTime>,
    pub seconds: f64,
}

impl Report {
    #[expect(clippy::too_many_arguments, reason = "each is one line of the summary")]
    pub fn new(
        plan: &ImagePlan,
        identity: Digest,
        layers: Vec<PackedLayer>,
        fetched: &[FetchedFile],
        files: Vec<Sum>,
        outputs: Vec<PathBuf>,
        timer: Timer,
        elapsed: Duration,
    ) -> Self {
        let new: Vec<&FetchedFile> = fetched.iter().filter(|fetched| !fetched.cached).collect();
        Self {
            image: plan.name.clone(),
            kubernetes: plan.variables.get("kubernetes").cloned().unwrap_or_default(),
            identity,
            layers,
            fetched_bytes: new.iter().map(|fetched| fetched.size).sum(),
            fetched: new.len(),
            in_store: fetched.len() - new.len(),
            files,
            outputs,
            steps: timer.0,
            seconds: round(elapsed),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} with Kubernetes {}", self.image, self.kubernetes)?;
        writeln!(
            f,
            "\nfetched {} files, {}; {} were in the store",
            self.fetched,
            DecimalBytes(self.fetched_bytes),
            self.in_store
        )?;
        let layers = widest(16, self.layers.iter().map(|layer| layer.name.as_str()));
        writeln!(f, "\n{:<layers$} {:>10}  {:<7} diffID", "layer", "size", "")?;
        for layer in &self.layers {
            let state = if layer.cached { "cached" } else { "built" };
            let (size, digest) = (DecimalBytes(layer.size).to_string(), layer.diff_id.to_string());
            writeln!(f, "{:<layers$} {size:>10}  {state:<7} {digest:.19}", layer.name)?;
        }
        let shown = || self.files.iter().filter(|file| !file.file.contains("/blobs/"));
        let files = widest(36, shown().map(|file| file.file.as_str()));
        writeln!(f, "\n{:<files$} {:>10}  sha256", "output", "size")?;
        for file in shown() {
            let size = DecimalBytes(file.size).to_string();
            writeln!(f, "{:<files$} {size:>10}  {:.12}", file.file, file.sha256.hex())?;
        }
        let steps: Vec<String> =
            self.steps.iter().map(|step| format!("{} {:.1}", step.step, step.seconds)).collect();
        writeln!(
            f,
            "\nseconds: {}; in all {:.1} ({})",
            steps.join(", "),
            self.seconds,
            HumanDuration(Duration::from_secs_f64(self.seconds))
        )
    }
}
