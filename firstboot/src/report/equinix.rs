//! Equinix Metal: the metadata names who waits (`phone_home_url`); states go there, events to `/events` below it, as JSON.

use serde_json::json;

use super::{DONE, Reporter, Telling, Told, Wish, fact, target};
use crate::error::Result;

pub(super) const REPORTER: Reporter = Reporter {
    kind: "equinix",
    when: DONE,
    settings: &[],
    usual: |facts| facts.text(URL).is_some(),
    whom: |_, facts| fact(facts, URL).map(|url| crate::net::url::origin(url).to_owned()),
    tell,
};

/// The fact that has the URL.
const URL: &str = "phone-home-url";

/// The URLs in the order in which they are told, and what.
fn requests(telling: &Telling) -> Result<([String; 2], String)> {
    let base = telling.fact(URL)?.trim_end_matches('/');
    let state = if telling.is_failure() { "failed" } else { "succeeded" };
    Ok((
        [format!("{base}/events"), base.to_owned()],
        json!({ "state": state, "message": telling.message() }).to_string(),
    ))
}

fn tell(_: &Wish, telling: &Telling) -> Result<Told> {
    let (urls, body) = requests(telling)?;
    for url in urls {
        target::post_anywhere(telling, &url, "application/json", body.as_bytes())?;
    }
    Ok(Told::Taken)
}

#[cfg(test)]
#[path = "equinix_tests.rs"]
mod tests;
