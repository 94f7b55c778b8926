//! What cloud-init's `phone_home` sends, without host keys: images of Kiln have none to tell
//! (<https://cloudinit.readthedocs.io/en/latest/reference/modules.html#phone-home>). Who receives it takes any call for "it is up", so a failed
//! join does not call; a webhook is told of both.

use super::target::{self, SETTINGS};
use super::{Reporter, Telling, Told, Wish, form, never};
use crate::error::Result;
use crate::facts::Facts;
use crate::status::Outcome;

pub(super) const REPORTER: Reporter =
    Reporter { kind: "phone-home", when: &[Outcome::Joined], settings: SETTINGS, usual: never, whom, tell };

fn whom(wish: &Wish, _: &Facts) -> Result<String> {
    target::host(wish)
}

fn body(telling: &Telling) -> String {
    let fqdn = telling.facts.text("hostname").or(telling.status.node.as_deref()).unwrap_or_default();
    let hostname = fqdn.split('.').next().unwrap_or_default();
    form(&[
        ("instance_id", telling.facts.text("instance-id").unwrap_or_default()),
        ("hostname", hostname),
        ("fqdn", fqdn),
    ])
}

fn tell(wish: &Wish, telling: &Telling) -> Result<Told> {
    target::post(wish, telling, "application/x-www-form-urlencoded", body(telling).as_bytes())
        .map(|()| Told::Taken)
}

#[cfg(test)]
#[path = "phone_home_tests.rs"]
mod tests;
