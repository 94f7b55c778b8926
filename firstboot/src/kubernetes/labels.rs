//! Labels: which names and values Kubernetes takes, and which of them a node may give itself. Labels begin
//! with an optional DNS subdomain and a slash
//! (<https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set>).

use super::names::{self, LABEL_LIMIT};

/// Labels of the groups kubernetes.io and k8s.io that a node may give itself. It may also use every label
/// whose prefix is, or ends in, one of [`OWN`]. The kubelet does not start with any other, and the
/// NodeRestriction admission plugin refuses them
/// (<https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#noderestriction>).
const ALLOWED: &[&str] = &[
    "kubernetes.io/hostname",
    "kubernetes.io/arch",
    "kubernetes.io/os",
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/instance-type",
    "failure-domain.beta.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
];
const OWN: &[&str] = &["kubelet.kubernetes.io", "node.kubernetes.io"];

/// Whether a node may give itself this label.
pub fn is_allowed(key: &str) -> bool {
    let Some((prefix, _)) = key.split_once('/') else { return true };
    let is_in =
        |group: &str| prefix == group || prefix.strip_suffix(group).is_some_and(|front| front.ends_with('.'));
    !(is_in("kubernetes.io") || is_in("k8s.io")) || ALLOWED.contains(&key) || OWN.iter().any(|own| is_in(own))
}

/// Whether this can be the name of a label.
pub fn is_key(key: &str) -> bool {
    let (prefix, name) = key.split_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    prefix.is_none_or(is_subdomain) && !name.is_empty() && sanitised(name) == name
}

/// Whether this can be the value of a label.
pub fn is_value(value: &str) -> bool {
    sanitised(value) == value
}

/// A tag's name as the name of a label. The text before the first slash stays a prefix if it can be one.
pub fn key_of_tag(tag: &str) -> Option<String> {
    let (prefix, name) = match tag.split_once('/') {
        Some((prefix, name)) if is_subdomain(prefix) => (format!("{prefix}/"), name),
        _ => (String::new(), tag),
    };
    let name = sanitised(name);
    (!name.is_empty()).then(|| prefix + &name)
}

fn is_subdomain(prefix: &str) -> bool {
    names::subdomain_problems(prefix).is_empty()
}

/// As much of a text as the value of a label can hold: letters, digits, `-_.` inside, letters and digits at
/// both ends.
pub fn sanitised(text: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    let plain: String = text.chars().map(|letter| if is_plain(letter) { letter } else { '-' }).collect();
    let begun = plain.trim_start_matches(|letter: char| !letter.is_ascii_alphanumeric());
    let cut = begun.get(..LABEL_LIMIT).unwrap_or(begun);
    cut.trim_end_matches(|letter: char| !letter.is_ascii_alphanumeric()).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_what_the_kubelet_takes() {
        for (key, expected) in [
            ("a", true),
            ("example.com/a", true),
            ("kubernetes.io/os", true),
            ("node.kubernetes.io/x", true),
            ("my.node.kubernetes.io/x", true),
            ("topology.kubernetes.io/zone", true),
            ("topology.kubernetes.io/rack", false),
            ("node-restriction.kubernetes.io/x", false),
            ("node-role.kubernetes.io/worker", false),
            ("k8s.io/x", false),
            ("xk8s.io/x", true),
        ] {
            assert_eq!(is_allowed(key), expected, "{key}");
        }
        for (text, expected) in [
            ("", ""),
            ("--a--", "a"),
            ("a=b,c", "a-b-c"),
            ("ä", ""),
            (&format!("{}-b", "a".repeat(62)), &"a".repeat(62)),
        ] {
            assert_eq!(sanitised(text), *expected, "{text}");
        }
    }
}
