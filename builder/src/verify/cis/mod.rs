//! The profile `cis`: rules of CIS's benchmarks, as far as an image's files can answer them.
//!
//! The numbers are those of the CIS Kubernetes Benchmark 1.12, section 4 ("Worker Nodes"), with `k8s-` before
//! them, and of the CIS Distribution Independent Linux Benchmark 2.0.0 with `linux-`; the titles are our own.
//! A rule is a row of [`RULES`]. What only a running machine or the cluster can answer says why, and never
//! counts as passed.

mod kubelet;
mod linux;
mod look;
mod settings;

use serde::Serialize;

use super::Subject;

/// A rule of a benchmark.
struct Rule {
    id: &'static str,
    title: &'static str,
    look: look::Look,
}

/// What became of a rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Outcome {
    /// The image has what the rule asks for.
    Passed,
    /// It has something else.
    Finding {
        /// What it has.
        found: String,
        /// What it should have.
        expected: String,
        /// Where.
        place: String,
    },
    /// It has something else on purpose, or somebody accepts that.
    Exempt {
        /// Why.
        reason: String,
    },
    /// Its files cannot tell.
    NotChecked {
        /// Why not.
        reason: String,
    },
}

/// A rule, and what became of it.
#[derive(Debug, Serialize)]
pub struct Answer {
    /// The benchmark and the number of the rule.
    pub id: &'static str,
    /// What it asks for.
    pub title: &'static str,
    /// What became of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// How many rules came to what.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Rules that the image meets.
    pub passed: usize,
    /// Rules that it does not.
    pub findings: usize,
    /// Rules that it does not meet on purpose.
    pub exempt: usize,
    /// Rules that its files cannot answer.
    pub not_checked: usize,
}

impl Counts {
    /// Of these answers.
    pub fn of(answers: &[Answer]) -> Self {
        let mut counts = Self::default();
        for answer in answers {
            *match answer.outcome {
                Outcome::Passed => &mut counts.passed,
                Outcome::Finding { .. } => &mut counts.findings,
                Outcome::Exempt { .. } => &mut counts.exempt,
                Outcome::NotChecked { .. } => &mut counts.not_checked,
            } += 1;
        }
        counts
    }
}

/// All rules, in their order.
fn rules() -> impl Iterator<Item = &'static Rule> {
    kubelet::RULES.iter().chain(linux::RULES)
}

/// The numbers of all rules.
pub fn ids() -> impl Iterator<Item = &'static str> {
    rules().map(|rule| rule.id)
}

/// Asks every rule of the image. Findings of the rules in `allowed` are accepted.
pub fn answers(subject: &Subject, allowed: &[String]) -> Vec<Answer> {
    let image = settings::Settings::of(subject);
    let outcomes: Vec<(&Rule, Outcome)> = rules().map(|rule| (rule, rule.look.at(&image))).collect();
    // What a rule could not read may be what it asks for.
    let unread = match subject.unread().first_key_value() {
        None => String::new(),
        Some((path, why)) => format!("not all files could be read, such as {path}: {why}"),
    };
    let answer = |(rule, outcome): (&Rule, Outcome)| {
        let outcome = match outcome {
            Outcome::Finding { .. } if allowed.iter().any(|id| id == rule.id) => {
                Outcome::Exempt { reason: "accepted by --allow".to_owned() }
            }
            Outcome::Passed if !unread.is_empty() => look::not_checked(unread.clone()),
            outcome => outcome,
        };
        Answer { id: rule.id, title: rule.title, outcome }
    };
    outcomes.into_iter().map(answer).collect()
}

#[cfg(test)]
mod tests;
