//! Names of Kubernetes objects (<https://kubernetes.io/docs/concepts/overview/working-with-objects/names/>).

/// Longest value of a Kubernetes label, longest name of one after its slash, and longest label of a DNS name.
pub const LABEL_LIMIT: usize = 63;
/// Longest DNS subdomain.
const SUBDOMAIN_LIMIT: usize = 253;

/// Why a text is not a DNS-1123 subdomain, which a node's name and a label's prefix must be. In Kubernetes'
/// words.
pub fn subdomain_problems(name: &str) -> Vec<&'static str> {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_label = |label: &str| {
        label.bytes().all(|byte| is_plain(byte) || byte == b'-')
            && label.bytes().next().is_some_and(is_plain)
            && label.bytes().last().is_some_and(is_plain)
    };
    let mut problems = Vec::new();
    if name.len() > SUBDOMAIN_LIMIT {
        problems.push("must be no more than 253 characters");
    }
    if !name.split('.').all(is_label) {
        problems.push(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', \
             and must start and end with an alphanumeric character",
        );
    }
    problems
}
