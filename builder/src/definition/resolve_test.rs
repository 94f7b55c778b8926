//! The `[[test]]` tables of an image.

use super::compose::Composition;
use super::image_spec::TestSpec;
use super::interpolate::Variables;
use super::plan::TestPlan;
use crate::at;
use crate::error::{Error, Result};

/// The most of each: a command that may run for ever is no test.
const MOST_SECONDS: u32 = 3600;
const MOST_TESTS: usize = 200;

/// The tests, with variables replaced.
///
/// # Errors
/// [`ErrorKind::Definition`](crate::error::ErrorKind::Definition), naming the table.
pub fn resolve(composed: &Composition, variables: &Variables) -> Result<Vec<TestPlan>> {
    let specs = composed.file.test.as_deref().unwrap_or_default();
    if specs.len() > MOST_TESTS {
        let error = composed.error(&at!["test"], &format!("more than {MOST_TESTS} tests"));
        return Err(error.help("put several checks into one command"));
    }
    let plans: Vec<TestPlan> = specs
        .iter()
        .enumerate()
        .map(|(index, spec)| Reader { composed, variables, index }.read(spec))
        .collect::<Result<_>>()?;
    for (index, plan) in plans.iter().enumerate() {
        if plans[..index].iter().any(|other| other.name == plan.name) {
            let error = composed.error(&at!["test", index, "name"], "two tests have this name");
            return Err(error.help("say what each of them finds"));
        }
    }
    Ok(plans)
}

struct Reader<'a> {
    composed: &'a Composition,
    variables: &'a Variables,
    index: usize,
}

impl Reader<'_> {
    fn error(&self, key: &'static str, message: &str) -> Error {
        self.composed.error(&at!["test", self.index, key], message)
    }

    fn read(&self, spec: &TestSpec) -> Result<TestPlan> {
        let expand = |key: &'static str, text: &String| {
            let path = at!["test", self.index, key];
            let value = self.composed.expand(&path, text, self.variables)?;
            match value.contains('\0') {
                true => Err(self.error(key, "it has a zero byte").help("leave it out")),
                false => Ok(value),
            }
        };
        if spec.name.trim().is_empty() || spec.name.contains(char::is_control) {
            return Err(self
                .error("name", "a name is one line of text")
                .help("say what is true when it passes"));
        }
        let run = spec.run.iter().map(|word| expand("run", word)).collect::<Result<Vec<_>>>()?;
        if run.first().is_none_or(String::is_empty) {
            let help =
                "write a command and its arguments: run = [\"systemctl\", \"is-active\", \"containerd\"]";
            return Err(self.error("run", "there is no command").help(help));
        }
        for (key, seconds, least) in [("timeout", spec.timeout, 1), ("within", spec.within, 0)] {
            if !(least..=MOST_SECONDS).contains(&seconds) {
                let error = self.error(key, &format!("{seconds} seconds are not possible"));
                return Err(error.help(format!("write {least} to {MOST_SECONDS}")));
            }
        }
        let expect = spec.expect.as_ref().map(|text| expand("expect", text)).transpose()?;
        let TestSpec { name, exit, within, timeout, .. } = spec.clone();
        Ok(TestPlan { name, run, expect, exit, within, timeout })
    }
}
