//! Which machines are tried: all origins with all forms, and each mistake in each form.

use std::sync::Arc;

use kiln_tests::canary::{Marks, SECRET};

use super::attempt::{Case, Ends, Verb};
use super::formats::{FORMATS, Format, KEY_LINE, Made, PASSWORD, STRANGERS, right, signed_only};
use super::mistakes::{DAMAGES, MISTAKES, POLICIES, damaged};
use super::origins::{ORIGINS, Origin};
use super::stage::{self, TAG};

const RUN: Verb = &["run"];
/// What else reads user-data of the machine.
const READERS: &[Verb] =
    &[&["explain"], &["explain", "--json"], &["preflight", "--json"], &["join"], &["run", "--json", "-v", "9"], &["explain", "-v", "9"]];
/// What reads a file that a person gives.
const BY_HAND: &[Verb] = &[
    &["config", "validate", "{file}"],
    &["config", "validate", "--json", "--config", "{file}"],
    &["explain", "--json", "--config", "{file}"],
    &["join", "--dry-run", "-v", "9", "--config", "{file}"],
    &["preflight", "--config", "{file}"],
    &["reset", "--force", "--config", "{file}"],
];
/// Origins that cost nothing.
pub const CHEAP: &[&str] = &["nocloud-folder", "hyperv", "metal-inline", "file", "credential", "smbios-binary", "fw-cfg-credential"];

/// The token by its halves: a part of it is a leak, too.
fn marks(packed: &[&[u8]]) -> Arc<Marks> {
    let (front, back) = SECRET.split_at(SECRET.len() / 2);
    let (word, rest) = PASSWORD.split_at(PASSWORD.len() / 2);
    let marks = Marks::of(&[front, back, word, rest, KEY_LINE, "PRIVATE KEY"]);
    Arc::new(packed.iter().fold(marks, |marks, bytes| marks.and_packed(bytes)))
}

fn marks_of(format: &Format, made: &Made) -> Arc<Marks> {
    let packed = if made.pointed.is_empty() { vec![&made.user_data[..]] } else { made.pointed.values().map(Vec::as_slice).collect() };
    marks(if format.is_packed { &packed } else { &[] })
}

/// Every case.
pub fn all_cases() -> Vec<Case> {
    let origins: Vec<&'static Origin> = ORIGINS.iter().filter(|origin| stage::hindrance(origin).is_none()).collect();
    let mut cases = Vec::new();
    for (number, origin) in origins.iter().enumerate() {
        cases.extend(FORMATS.iter().enumerate().map(|(index, format)| taken(origin, format, READERS[(number + index) % READERS.len()])));
        cases.extend(STRANGERS.iter().skip(number % 3).step_by(3).map(|(name, make)| strange(origin, name, *make, number)));
        cases.extend(POLICIES.iter().map(|(name, policy, exit)| restricted(origin, name, policy, *exit, number)));
        cases.push(restricted(origin, "signed only", &signed_only(), 12, number));
    }
    let cheap: Vec<&Origin> = origins.into_iter().filter(|origin| CHEAP.contains(&origin.name)).collect();
    for (number, format) in FORMATS.iter().enumerate() {
        let origin = |index: usize| cheap[(number + index) % cheap.len()];
        let mistakes = MISTAKES.iter().enumerate();
        cases.extend(mistakes.map(|(index, (what, token))| wrong(origin(index), format, what, (format.make)(&token()), Ends::Refused)));
        let made = (format.make)(&right());
        let damages = DAMAGES.iter().enumerate();
        cases.extend(damages.map(|(index, (what, damage))| wrong(origin(index), format, what, damaged(&made, *damage), Ends::Somehow)));
        cases.extend(given(format));
    }
    cases
}

/// A config that is taken.
fn taken(origin: &'static Origin, format: &Format, reader: Verb) -> Case {
    let made = (format.make)(&right());
    Case {
        about: "taken",
        name: format!("{} {}", origin.name, format.name),
        origin,
        marks: marks_of(format, &made),
        made,
        policy: format.is_signed.then(signed_only),
        verbs: vec![reader, RUN],
        ends: Ends::Unreachable,
    }
}

/// User-data that is for others.
fn strange(origin: &'static Origin, name: &str, make: fn() -> Vec<u8>, number: usize) -> Case {
    Case {
        about: "ignored",
        name: format!("{} stranger-{name}", origin.name),
        origin,
        made: Made { user_data: make(), ..Made::default() },
        policy: None,
        verbs: vec![READERS[number % READERS.len()], RUN],
        ends: Ends::Somehow,
        marks: marks(&[]),
    }
}

/// A config that the image's policy does not believe, in a form that is another one for each origin.
fn restricted(origin: &'static Origin, name: &str, policy: &str, exit: i32, number: usize) -> Case {
    let formats: Vec<&Format> = FORMATS.iter().filter(|format| !format.is_signed && format.name != "template").collect();
    let format = formats[number % formats.len()];
    let made = (format.make)(&right());
    let marks = marks_of(format, &made);
    let marks = if policy.contains("facts") { Arc::new(Marks::clone(&marks).and(&[TAG])) } else { marks };
    let ends = if exit == 11 { Ends::Unreachable } else { Ends::With(exit) };
    let verbs = vec![READERS[number % READERS.len()], RUN];
    Case { about: "restricted", name: format!("{} {name}", origin.name), origin, made, policy: Some(policy.to_owned()), verbs, ends, marks }
}

/// A config with something wrong in it.
fn wrong(origin: &'static Origin, format: &Format, what: &str, made: Made, ends: Ends) -> Case {
    let verbs = vec![READERS[(what.len() + format.name.len()) % READERS.len()], RUN];
    let marks = marks_of(format, &made);
    let name = format!("{} {} with {what}", origin.name, format.name);
    Case { about: "wrong", name, origin, made, policy: format.is_signed.then(signed_only), verbs, ends, marks }
}

/// User-data in a file that a person gives, right and wrong.
fn given(format: &Format) -> Vec<Case> {
    let origin = ORIGINS.iter().find(|origin| origin.name == CHEAP[0]).expect("it is one of them");
    let rights = BY_HAND.iter().map(|verb| ("nothing wrong", right(), *verb));
    let wrongs = MISTAKES.iter().enumerate().flat_map(|(index, (what, token))| {
        let verbs = [BY_HAND[0], BY_HAND[1 + index % (BY_HAND.len() - 1)]];
        verbs.map(|verb| (*what, token(), verb))
    });
    let case = |(what, token, verb): (&str, String, Verb)| {
        let made = (format.make)(&token);
        let name = format!("{verb:?} of {} with {what}", format.name);
        Case { about: "by hand", name, origin, marks: marks_of(format, &made), made, policy: None, verbs: vec![verb], ends: Ends::Somehow }
    };
    rights.chain(wrongs).map(case).collect()
}
