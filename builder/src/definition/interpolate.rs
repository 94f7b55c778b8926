//! `${variable}` in definitions: one rule everywhere. `$${` writes a literal `${`; a `$` before anything else
//! is itself.

use std::collections::BTreeMap;

use super::source::suggestion;

/// Variable names with their values.
pub type Variables = BTreeMap<String, String>;

/// Replaces every `${name}` of `text`.
///
/// # Errors
/// An unknown variable, or a `${` that is not closed: the message and the help.
pub fn interpolate(text: &str, variables: &Variables) -> Result<String, (String, String)> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let (before, after) = (&rest[..start], &rest[start + 2..]);
        if let Some(before) = before.strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            rest = after;
            continue;
        }
        out.push_str(before);
        let Some(end) = after.find('}') else {
            return Err(("\"${\" is never closed".into(), "write ${name}, or $${ for a literal ${".into()));
        };
        let name = &after[..end];
        match variables.get(name) {
            Some(value) => out.push_str(value),
            None => {
                let help = suggestion(name, variables.keys().map(String::as_str));
                return Err((format!("unknown variable ${{{name}}}"), help));
            }
        }
        rest = &after[end + 1..];
    }
    out.push_str(rest);
    Ok(out)
}

/// The names of the variables in `text`.
pub fn names(text: &str) -> impl Iterator<Item = &str> {
    text.split("${").skip(1).filter_map(|rest| rest.split_once('}')).map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_escapes_and_refuses() {
        let variables = Variables::from([("arch".into(), "amd64".into())]);
        assert_eq!(interpolate("a-${arch}-$ARGS-$${arch}", &variables).unwrap(), "a-amd64-$ARGS-${arch}");
        let (message, help) = interpolate("${arhc}", &variables).unwrap_err();
        assert_eq!((message.as_str(), help.as_str()), ("unknown variable ${arhc}", "did you mean \"arch\"?"));
        assert!(interpolate("${arch", &variables).is_err());
    }
}
