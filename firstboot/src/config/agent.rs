//! The agent's own document, `firstboot.kiln/v1` FirstbootConfiguration. Strict: an unknown field is an
//! error.

use contract::suggest;

use super::agent_facts;
use super::check::{self, Problems};
use super::documents::{Document, shown};
use super::fields::Fields;
use super::model::{AgentConfiguration, OnFailure, TlsBootstrap, WaitFor};

use super::strict::{choice, refuse};
use super::{report, token_from};
use crate::error::{ErrorKind, Failure, Result};

pub(crate) const GROUP: &str = "firstboot.kiln";
pub(crate) const VERSION: &str = "v1";
pub(crate) const KIND: &str = "FirstbootConfiguration";

const TLS_BOOTSTRAP: &[(&str, TlsBootstrap)] =
    &[("agent", TlsBootstrap::Agent), ("kubelet", TlsBootstrap::Kubelet)];
const ON_FAILURE: &[(&str, OnFailure)] =
    &[("nothing", OnFailure::Nothing), ("poweroff", OnFailure::PowerOff), ("reboot", OnFailure::Reboot)];
const WAIT_FOR: &[(&str, WaitFor)] =
    &[("kubelet", WaitFor::Kubelet), ("registered", WaitFor::Registered), ("ready", WaitFor::Ready)];

/// Reads the document.
pub fn read(document: &Document) -> Result<AgentConfiguration> {
    if document.version != VERSION {
        let message = format!("{KIND} has no version \"{}\"", shown(&document.version));
        return Err(
            Failure::new(ErrorKind::Config, message).help(format!("write apiVersion: {GROUP}/{VERSION}"))
        );
    }
    let mut problems = Problems::default();
    let agent = read_fields(document, &mut problems).map_err(|failure| failure.doing(KIND))?;
    for path in &document.duplicates {
        problems.invalid(path, "", "the field occurs twice");
    }
    problems.result().map_err(|failure| failure.doing(KIND))?;
    Ok(agent)
}

/// The error about a document of the agent's group that is of no kind that it has.
pub fn unknown_kind(document: &Document) -> Failure {
    let meant = suggest::did_you_mean(&document.kind, [KIND]);
    let message =
        format!("a node config has no document of {GROUP} of the kind \"{}\"{meant}", shown(&document.kind));
    Failure::new(ErrorKind::Config, message)
        .help(format!("its kind is {KIND}; a ConfigPointer stands alone in user data"))
}

fn read_fields(document: &Document, problems: &mut Problems) -> Result<AgentConfiguration> {
    let mut fields = Fields::of(&document.value, "")?;
    fields.skip("apiVersion");
    fields.skip("kind");
    let default = AgentConfiguration::default();
    let endpoints = fields.texts("endpoints")?;
    let endpoints = endpoints.iter().enumerate();
    let agent = AgentConfiguration {
        endpoints: endpoints
            .filter_map(|(index, text)| check::endpoint(&format!("endpoints[{index}]"), text, problems))
            .collect(),
        tls_bootstrap: choice(&mut fields, "tlsBootstrap", TLS_BOOTSTRAP, problems)?
            .unwrap_or(default.tls_bootstrap),
        deadline: fields.duration("deadline")?.unwrap_or(default.deadline),
        spread: fields.duration("spread")?.unwrap_or(default.spread),
        runtime_timeout: fields.duration("runtimeTimeout")?.unwrap_or(default.runtime_timeout),
        on_failure: choice(&mut fields, "onFailure", ON_FAILURE, problems)?.unwrap_or(default.on_failure),
        wait_for: choice(&mut fields, "waitFor", WAIT_FOR, problems)?.unwrap_or(default.wait_for),
        from_facts: agent_facts::read(&mut fields, problems)?,
        token_from: token_from::read(&mut fields, problems)?,
        guard_metadata: fields.flag("guardMetadata")?,
        scrub: fields.flag("scrub")?.unwrap_or(default.scrub),
        report: report::read(&mut fields, problems)?,
    };
    if agent.deadline.is_zero() {
        problems.invalid("deadline", "0", "must be greater than 0");
    }
    if agent.spread >= agent.deadline && !agent.spread.is_zero() {
        problems.invalid("spread", &format!("{}s", agent.spread.as_secs()), "must be less than the deadline");
    }
    let mut unknown = Vec::new();
    fields.finish(&mut unknown);
    unknown.iter().for_each(|field| refuse(field, problems));
    Ok(agent)
}
