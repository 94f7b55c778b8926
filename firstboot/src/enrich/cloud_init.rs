//! Facts by the names that others have for them: cloud-init's instance data
//! (<https://cloudinit.readthedocs.io/en/latest/explanation/instancedata.html>) and Afterburn's variables
//! (<https://coreos.github.io/afterburn/usage/attributes/>), as user data for those programs uses them.

use crate::config::template::Variables;

/// In front of cloud-init's names.
const PREFIXES: &[&str] = &["ds.meta_data.", "ds.", "v1."];
/// In front of Afterburn's, before the platform's name.
const AFTERBURN: &[&str] = &["COREOS_", "AFTERBURN_"];

/// Theirs and ours, where they differ in more than letters.
const NAMES: &[(&str, &str)] = &[
    ("local-hostname", "hostname"),
    ("name", "hostname"),
    ("availability-zone", "zone"),
    ("cloud-name", "platform"),
    ("cloud-id", "platform"),
    ("uuid", "instance-id"),
    ("vm-id", "instance-id"),
    ("machine-type", "instance-type"),
];

/// The value of `ds.meta_data.local_hostname`, `v1.region`, `instance_id`, `COREOS_EC2_HOSTNAME`.
pub fn value(name: &str, variables: &Variables) -> Option<String> {
    let plain = match AFTERBURN.iter().find_map(|prefix| name.strip_prefix(prefix)) {
        Some(rest) => rest.split_once('_')?.1.to_ascii_lowercase(),
        None => PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(name).to_owned(),
    };
    let kebab = plain.replace('_', "-");
    let ours = NAMES.iter().find(|(theirs, _)| *theirs == kebab).map(|(_, ours)| *ours);
    ours.and_then(|ours| variables.value(ours))
        .or_else(|| variables.value(&kebab))
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_names_are_known() {
        let mut variables = Variables::default();
        for (name, value) in [
            ("hostname", "n1"),
            ("instance-id", "i1"),
            ("region", "r1"),
            ("zone", "z1"),
            ("project", "p1"),
            ("platform", "ec2"),
        ] {
            variables.set(name, Some(value.to_owned()));
        }
        for (name, expected) in [
            ("ds.meta_data.local_hostname", Some("n1")),
            ("ds.meta_data.local-hostname", Some("n1")),
            ("ds.meta_data.hostname", Some("n1")),
            ("v1.local_hostname", Some("n1")),
            ("v1.availability_zone", Some("z1")),
            ("instance_id", Some("i1")),
            ("v1.cloud_name", Some("ec2")),
            ("ds.meta_data.project", Some("p1")),
            ("COREOS_EC2_HOSTNAME", Some("n1")),
            ("COREOS_AZURE_VM_ID", Some("i1")),
            ("AFTERBURN_AWS_REGION", Some("r1")),
            ("COREOS_X", None),
            ("v1.nonsense", None),
            ("", None),
        ] {
            assert_eq!(value(name, &variables).as_deref(), expected, "{name}");
        }
    }
}
