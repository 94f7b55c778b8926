//! A webhook: the verdict as JSON, what the console line says with what tells this machine from others.

use super::target::{self, SETTINGS};
use super::{DONE, Reporter, Telling, Told, Wish, never};
use crate::error::Result;
use crate::facts::Facts;

pub(super) const REPORTER: Reporter =
    Reporter { kind: "webhook", when: DONE, settings: SETTINGS, usual: never, whom, tell };

fn whom(wish: &Wish, _: &Facts) -> Result<String> {
    target::host(wish)
}

fn tell(wish: &Wish, telling: &Telling) -> Result<Told> {
    target::post(wish, telling, "application/json", telling.summary().to_string().as_bytes())
        .map(|()| Told::Taken)
}

#[cfg(test)]
#[path = "webhook_tests.rs"]
mod tests;
