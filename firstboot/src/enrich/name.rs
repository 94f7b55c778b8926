//! The node's name from the platform or a template.

use super::variables::of_facts;
use crate::config::template::{self, Variables};
use crate::config::{long_name_warning, node_name_problem};
use crate::error::{ErrorKind, Failure, Result};
use crate::facts::Facts;
use crate::host::machine;
use crate::kubernetes::names::LABEL_LIMIT;
use crate::platforms::Platform;

/// The name from the platform's template, for a node whose config names none. An invalid name is not used,
/// with a notice.
pub fn by_platform(facts: &Facts, source: &Platform, notices: &mut Vec<String>) -> Option<String> {
    let expanded = template::expand(source.node_name?, &of_facts(facts)).ok()?;
    // With several search domains EC2 gives a name for each.
    let name = expanded.split_whitespace().next()?.trim_end_matches('.').to_lowercase();
    let name = match name.split_once('.') {
        Some((first, _)) if name.len() > LABEL_LIMIT => {
            notices.push(format!(
                "the name that {} has for this machine is too long for a label: the node is called {first}",
                source.name
            ));
            first.to_owned()
        }
        _ => name,
    };
    if let Some(problem) = node_name_problem(&name) {
        notices.push(format!("the name that {} has for this machine is not used: {problem}", source.name));
        return None;
    }
    (!machine::is_placeholder_name(&name)).then_some(name)
}

/// The name from the config's template.
pub fn by_template(template: &str, variables: &Variables, notices: &mut Vec<String>) -> Result<String> {
    let name = template::expand(template, variables)
        .map_err(|wrong| wrong.failure("nodeName"))?
        .trim()
        .to_lowercase();
    if let Some(problem) = node_name_problem(&name) {
        return Err(Failure::new(ErrorKind::Config, format!("nodeName: {problem}")));
    }
    notices.extend(long_name_warning(&name).map(|warning| format!("warning: {warning}")));
    Ok(name)
}
