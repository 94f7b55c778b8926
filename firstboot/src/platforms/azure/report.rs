//! Azure: provisioning of a machine fails if it does not report ready within some twenty minutes
//! (<https://learn.microsoft.com/en-us/azure/virtual-machines/linux/no-agent>). The wire server has the goal
//! state, whose identifiers the health report repeats. The host also reads a report from the key-value pool,
//! even when the network is down.

use std::time::SystemTime;

use http::Method;
use x509_cert::der::DateTime;

use super::WIRE_SERVER;
use crate::error::Result;
use crate::facts::Facts;
use crate::host::{kvp, pools};
use crate::net::service::{Protocol, Request, Service};
use crate::reporter::{Delivery, ReportContext, ReportTarget, Reporter, UP, Urgency, cut, xml};
use crate::status::Outcome;

pub(super) const REPORTER: Reporter = Reporter {
    kind: "azure",
    urgency: Urgency::Provisioning,
    when: UP,
    settings: &[],
    by_default: is_azure,
    receiver,
    deliver,
};

const PROTOCOL: Protocol = Protocol {
    headers: &[("x-ms-version", "2012-11-30"), ("x-ms-agent-name", "firstboot")],
    answers_with: None,
    session: None,
    privileged_port: false,
};
const GOAL_STATE: &str = "/machine/?comp=goalstate";
const HEALTH: &str = "/machine?comp=health";
/// Bytes of a description that the platform takes.
const LONGEST_DESCRIPTION: usize = 512;
/// The key under which the host looks for the end of a provisioning.
const REPORT_KEY: &str = "PROVISIONING_REPORT";

/// Limit on the bytes of a goal state; usual ones have some 3 KB.
const LONGEST_GOAL_STATE: usize = 256 * 1024;

/// The identifiers that a health report repeats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GoalState {
    /// The goal state's number.
    pub incarnation: String,
    /// The machine's container on its host.
    pub container: String,
    /// The machine's role instance.
    pub instance: String,
}

fn is_azure(facts: &Facts) -> bool {
    facts.text("platform") == Some("azure")
}

fn receiver(_: &ReportTarget, _: &Facts) -> Result<String> {
    Ok(format!("health at {WIRE_SERVER}"))
}

/// Reads a goal state, which anyone on the link may have sent.
pub fn goal_state(bytes: &[u8]) -> std::result::Result<GoalState, String> {
    if bytes.len() > LONGEST_GOAL_STATE {
        return Err(format!("the goal state is longer than {LONGEST_GOAL_STATE} bytes"));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| "the goal state is not UTF-8")?;
    let document = xml::parse(text).ok_or("the goal state is not XML")?;
    let root = document.root_element();
    let at = |path: &[&str]| {
        let found = path
            .iter()
            .try_fold(root, |node, name| xml::child(node, name))
            .and_then(|node| node.text())
            .map(str::trim);
        found
            .filter(|text| is_plain(text))
            .map(str::to_owned)
            .ok_or_else(|| format!("the goal state has no {}", path.join("/")))
    };
    Ok(GoalState {
        incarnation: at(&["Incarnation"])?,
        container: at(&["Container", "ContainerId"])?,
        instance: at(&["Container", "RoleInstanceList", "RoleInstance", "InstanceId"])?,
    })
}

/// Identifiers are numbers, UUIDs, and names with dots and underscores.
fn is_plain(text: &str) -> bool {
    (1..=256).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
}

/// The health report; `trouble` is the reason why the machine is not ready.
fn health(goal: &GoalState, trouble: Option<&str>) -> String {
    let GoalState { incarnation, container, instance } = goal;
    let state = if trouble.is_some() { "NotReady" } else { "Ready" };
    let details = trouble.map_or_else(String::new, |why| {
        let why = xml::escaped(cut(why, LONGEST_DESCRIPTION));
        format!(
            "<Details><SubStatus>ProvisioningFailed</SubStatus><Description>{why}</Description></Details>"
        )
    });
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n\
         <Health xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xmlns:xsd=\"http://www.w3.org/2001/XMLSchema\">\
         <GoalStateIncarnation>{incarnation}</GoalStateIncarnation>\
         <Container><ContainerId>{container}</ContainerId>\
         <RoleInstanceList><Role><InstanceId>{instance}</InstanceId>\
         <Health><State>{state}</State>{details}</Health>\
         </Role></RoleInstanceList></Container></Health>"
    )
}

/// The report in the key-value pool: fields with bars between them, as the host's tools read them.
fn report(vm: &str, time: &DateTime, trouble: Option<&str>) -> String {
    let result = trouble.map_or_else(
        || "result=success".to_owned(),
        |why| format!("result=error|reason={}", why.replace('|', "/")),
    );
    let end =
        format!("|agent=firstboot/{}|pps_type=None|vm_id={vm}|timestamp={time}", env!("CARGO_PKG_VERSION"));
    format!("{}{end}", cut(&result, kvp::SHOWN_VALUE.saturating_sub(end.len())))
}

fn deliver(_: &ReportTarget, context: &ReportContext) -> Result<Delivery> {
    let trouble = context.is_failure().then(|| context.message());
    if matches!(context.status.outcome, Outcome::Joined | Outcome::Failed)
        && let Some(time) = DateTime::from_system_time(SystemTime::now()).ok()
    {
        let vm = context.facts.text("instance-id").unwrap_or("None");
        // Without the daemon there is no folder, and the host gets only the health report.
        let _ = pools::append(context.root, REPORT_KEY, &report(vm, &time, trouble.as_deref()));
    }
    let mut service = context.service(&[WIRE_SERVER], PROTOCOL);
    let goal = read_goal_state(&mut service)?;
    let body = health(&goal, trouble.as_deref());
    let headers = [("content-type", "text/xml; charset=utf-8")];
    service.send(&Request {
        method: Method::POST,
        path: HEALTH,
        headers: &headers,
        body: body.as_bytes(),
    })?;
    Ok(Delivery::Accepted)
}

fn read_goal_state(service: &mut Service) -> Result<GoalState> {
    let bytes = service.get(GOAL_STATE)?;
    goal_state(&bytes).map_err(|why| service.wrong(GOAL_STATE, why))
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
