//! The variables of templates on this machine.

use super::KnownFacts;
use crate::config::template::Variables;
use crate::evidence::smbios::{self, Field};
use crate::facts::{Facts, NAMES};
use crate::host::root::Root;
use crate::host::{identity, machine};

/// The facts, the firmware's `uuid` and `serial`, and the host's own `hostname` where the platform names
/// none.
pub fn variables(facts: &Facts, root: &Root) -> Variables {
    let mut variables = of_facts(facts);
    if variables.value("hostname").is_none() {
        variables.set("hostname", machine::own_hostname(root));
    }
    let fields = smbios::fields(root);
    let field =
        |wanted: Field| fields.iter().find(|(field, _)| *field == wanted).map(|(_, text)| text.clone());
    let uuid = field(Field::ProductUuid).filter(|uuid| identity::doubt(uuid).is_none());
    variables.set("uuid", uuid.map(|uuid| uuid.to_ascii_lowercase()));
    variables.set("serial", field(Field::ProductSerial));
    variables
}

/// The variables for the platform's own templates: the host's own name says nothing of the platform.
pub(super) fn of_platform(known: &KnownFacts) -> Variables {
    let mut variables = known.variables.clone();
    variables.set("hostname", known.facts.text("hostname").map(str::to_owned));
    variables
}

/// The facts alone.
pub(super) fn of_facts(facts: &Facts) -> Variables {
    let mut variables = Variables::default();
    for name in NAMES.iter().copied().chain(facts.extra.keys().copied()) {
        variables.set(name, facts.text(name).map(str::to_owned));
    }
    let label = facts.text("hostname").and_then(|name| name.split('.').next());
    variables.set("local-hostname", label.map(str::to_owned));
    variables
}
