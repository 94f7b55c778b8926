//! Templates: what a check lets pass fails only for want of a fact, and a value is put in as it is.
#![no_main]

use firstboot::config::template::{TemplateError, Variables, check, expand};
use firstboot::kubernetes::labels::{is_key, sanitised};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let mut names = Variables::default();
    names.set("zone", Some("z".to_owned()));
    names.set("region", None);
    match expand(text, &names) {
        Ok(value) => assert!(
            check(text).is_ok() && value.len() <= text.len() && (text.contains("${") || value == text)
        ),
        Err(TemplateError::Text(_)) => assert!(check(text).is_err()),
        Err(TemplateError::Missing(name)) => assert!(check(text).is_ok() && name == "region"),
        Err(TemplateError::Unknown(message)) => assert!(check(text).is_ok() && message.len() < 1000),
    }
    let value = sanitised(text);
    assert!(value.len() <= 63 && sanitised(&value) == value && (value.is_empty() || is_key(&value)));
});
