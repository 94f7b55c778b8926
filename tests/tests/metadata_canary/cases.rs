//! The tested machines: all sources with all forms, and each mistake in each form.

use std::sync::Arc;

use kiln_tests::canary::{Marks, SECRET};

use super::attempt::{Case, Ends, Verb};
use super::fixture::{self, TAG};
use super::formats::{FORMATS, Format, KEY_LINE, Made, Make, PASSWORD, STRANGERS, signed_only};
use super::mistakes::{DAMAGES, MISTAKES, POLICIES, damaged};
use super::sources::{SOURCES, Source};

const RUN: Verb = &["run"];
/// The checks of a join wait a second for a container runtime.
const CHECK: Verb = &["preflight", "--json"];
/// What reads user-data of the machine at once.
const READERS: &[Verb] =
    &[&["explain"], &["explain", "--json"], &["explain", "-v", "9"], &["explain", "--json", "-v", "9"]];
/// What reads it and goes on.
const RUNNERS: &[Verb] = &[RUN, &["run", "--json", "-v", "9"], RUN, &["join"]];
/// What reads a file that a person gives.
const BY_HAND: &[Verb] = &[
    &["config", "validate"],
    &["config", "validate", "--json", "--config"],
    &["explain", "--json", "--config"],
    &["join", "--dry-run", "-v", "9", "--config"],
    &["reset", "--force", "--config"],
    &["preflight", "--config"],
];
/// Origins that cost nothing.
pub const CHEAP: &[&str] =
    &["nocloud-folder", "hyperv", "metal-inline", "file", "credential", "smbios-binary", "fw-cfg-credential"];

/// Any eight characters of the token or the password, because a part of a secret is a leak, too; and the
/// values of tags.
fn marks(packed: &[&[u8]]) -> Arc<Marks> {
    const PART: usize = 8;
    let parts = [SECRET, PASSWORD]
        .into_iter()
        .flat_map(|secret| (0..=secret.len() - PART).map(move |at| &secret[at..at + PART]));
    let marks = Marks::of(&parts.chain([KEY_LINE, "PRIVATE KEY", TAG]).collect::<Vec<_>>());
    Arc::new(packed.iter().fold(marks, |marks, bytes| marks.and_packed(bytes)))
}

pub fn marks_of(format: &Format, made: &Made) -> Arc<Marks> {
    let packed = if made.pointed.is_empty() {
        vec![&made.user_data[..]]
    } else {
        made.pointed.values().map(Vec::as_slice).collect()
    };
    marks(if format.is_packed { &packed } else { &[] })
}

/// Every case.
pub fn all_cases() -> Vec<Case> {
    let sources: Vec<&'static Source> =
        SOURCES.iter().filter(|source| fixture::hindrance(source).is_none()).collect();
    let mut cases = Vec::new();
    for (number, source) in sources.iter().enumerate() {
        cases.extend(FORMATS.iter().enumerate().map(|(index, format)| taken(source, format, number + index)));
        cases.extend(
            STRANGERS
                .iter()
                .skip(number % 3)
                .step_by(3)
                .map(|(name, make)| strange(source, name, *make, number)),
        );
        cases.extend(
            POLICIES
                .iter()
                .map(|(name, policy, exit)| restricted(source, name, policy, *exit, number)),
        );
        cases.push(restricted(source, "signed only", &signed_only(), 12, number));
    }
    let cheap: Vec<&Source> = sources.into_iter().filter(|source| CHEAP.contains(&source.name)).collect();
    for (number, format) in FORMATS.iter().enumerate() {
        let source = |index: usize| cheap[(number + index) % cheap.len()];
        let made = format.right();
        let mistakes = MISTAKES.iter().enumerate();
        cases.extend(mistakes.map(|(index, (what, token))| {
            wrong(source(index), format, what, format.with(token()), Ends::Refused)
        }));
        let damages = DAMAGES.iter().enumerate();
        cases.extend(damages.map(|(index, (what, damage))| {
            wrong(source(index), format, what, damaged(&made, *damage), Ends::Somehow)
        }));
        cases.push(Case {
            verbs: vec![CHECK],
            ..wrong(source(0), format, "nothing", made, Ends::Unreachable)
        });
        cases.push(given(source(0), format));
    }
    // Cases with the longest waits come first.
    cases.sort_by_key(|case| case.about != "by hand");
    cases
}

/// How the agent is called. A run of user-data that does not say how long it may take is left out: it would
/// take minutes.
fn verbs(format: &Format, number: usize) -> Vec<Verb> {
    let reader = READERS[number % READERS.len()];
    if format.is_bounded {
        vec![reader, RUNNERS[number / READERS.len() % RUNNERS.len()]]
    } else {
        vec![reader]
    }
}

/// A case in which nothing is wrong.
fn plain(about: &'static str, source: &'static Source, format: &Format, made: Made, number: usize) -> Case {
    Case {
        about,
        name: format!("{} {}", source.name, format.name),
        source,
        marks: marks_of(format, &made),
        made,
        policy: format.is_signed.then(signed_only),
        verbs: verbs(format, number),
        given: Vec::new(),
        ends: Ends::Unreachable,
    }
}

/// A config that is taken.
fn taken(source: &'static Source, format: &Format, number: usize) -> Case {
    plain("taken", source, format, format.right(), number)
}

/// User data that is not for the agent.
fn strange(source: &'static Source, name: &str, make: Make, number: usize) -> Case {
    let made = Made { user_data: make(), ..Made::default() };
    let name = format!("{} stranger-{name}", source.name);
    Case { name, ends: Ends::Somehow, ..plain("ignored", source, &FORMATS[0], made, number) }
}

/// A config that the image's trust policy does not allow, in a different form for each source.
fn restricted(source: &'static Source, name: &str, policy: &str, exit: i32, number: usize) -> Case {
    // What must be signed, and what has no token of its own, ends otherwise.
    let formats: Vec<&Format> = FORMATS
        .iter()
        .filter(|format| !format.is_signed && format.name != "token-from" && format.is_bounded)
        .collect();
    let format = formats[number % formats.len()];
    let case = plain("restricted", source, format, format.right(), number);
    let ends = if exit == 11 { Ends::Unreachable } else { Ends::With(exit) };
    let verbs = vec![READERS[number % READERS.len()], RUN];
    Case { name: format!("{} {name}", case.name), policy: Some(policy.to_owned()), verbs, ends, ..case }
}

/// A config with something wrong in it.
fn wrong(source: &'static Source, format: &Format, what: &str, made: Made, ends: Ends) -> Case {
    let case = plain("wrong", source, format, made, what.len() + format.name.len());
    Case { name: format!("{} with {what}", case.name), ends, ..case }
}

/// User-data in files that a person gives, right and wrong.
fn given(source: &'static Source, format: &Format) -> Case {
    let made = format.right();
    let rights = BY_HAND.iter().map(|verb| (*verb, made.user_data.clone()));
    let wrongs = MISTAKES.iter().enumerate().flat_map(|(index, (_, token))| {
        let bytes = format.with(token()).user_data;
        [BY_HAND[0], BY_HAND[1 + index % (BY_HAND.len() - 1)]].map(|verb| (verb, bytes.clone()))
    });
    let given = rights.chain(wrongs).collect();
    let case = plain("by hand", source, format, made, 0);
    Case { name: format!("by hand {}", case.name), verbs: Vec::new(), given, ends: Ends::Somehow, ..case }
}
