use std::fs;

use super::*;

const TABLE: &str = r#"schema = 1

[newest]
kubernetes = ["1.35.9", "1.36.5"]
tool = ["1.9.2", "1.10.0", "2.0.3"]

[[end-of-life]]
part = "tool"
source = "its page"
[end-of-life.lines]
"1.9" = "2026-01-31"

[[rule]]
when = { kubernetes = "<1.36" }
needs = { tool = "<2" }
why = "tool 2 asks for more"
source = "its page"
"#;

fn read(text: &str) -> Result<Table> {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(FILE), text).unwrap();
    Table::read(folder.path())
}

fn facts(values: &[(&str, &str)]) -> Variables {
    values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn a_wrong_table_is_told_with_its_line() {
    for (from, to, message, help) in [
        ("schema = 1\n", "", ": the key \"schema\" is missing", "schema = 1"),
        ("[newest]", "[newset]", ":3: unknown key \"newset\"", "newest"),
        ("\"1.9.2\"", "\"v1.9.2\"", ":5: \"v1.9.2\" is not a version", "without \"v\""),
        ("\"1.9.2\"", "\"2.9.2\"", ":5: the oldest release comes first", "sort"),
        ("part = \"tool\"", "part = \"tol\"", ":8: [newest] has no part \"tol\"", "tool"),
        ("needs =", "neds =", ":15: unknown key \"neds\"", "needs"),
        ("needs = { tool", "needs = { tol", ":15: [newest] has no part \"tol\"", "did you mean \"tool\"?"),
        ("\"<2\"", "\"<two\"", ":15: \"<two\" is not a version requirement", ">=1.26, <1.35"),
        ("needs =", "warn = \"x\"\nneeds =", ":13: a rule has exactly one of", "one rule for each"),
        ("when = { kubernetes = \"<1.36\" }", "when = {}", ":13: a rule without conditions", "name a part"),
        ("why = \"tool 2 asks for more\"\n", "", ":13: a rule says why", "why ="),
    ] {
        assert!(TABLE.contains(from), "{from}");
        let error = read(&TABLE.replacen(from, to, 1)).unwrap_err();
        assert!(error.message().contains(&format!("{FILE}{message}")), "{to}: {error}");
        assert!(error.hint().unwrap_or_default().contains(help), "{to}: {error}");
    }
    read(TABLE).unwrap();
}

#[test]
fn a_rule_without_a_source_is_refused() {
    let text = TABLE.trim_end().strip_suffix("source = \"its page\"").unwrap();
    assert!(read(text).unwrap_err().message().contains("\"source\" is missing"));
}

#[test]
fn a_folder_without_a_table_leaves_nothing_open() {
    let folder = tempfile::tempdir().unwrap();
    let table = Table::read(folder.path()).unwrap();
    assert!(!table.leaves_open("tool", "1.9") && table.kubernetes("1.36", &Variables::new()).is_none());
}

#[test]
fn versions_are_compared_as_numbers() {
    let numbers = |text: &str| number(text).map(|version| version.to_string());
    for (text, expected) in [
        ("3.10", Some("3.10.0")),
        ("19.03.15", Some("19.3.15")),
        ("20.10.5+dfsg1", Some("20.10.5")),
        ("2.4.0-rc.1", Some("2.4.0")),
        ("next", None),
    ] {
        assert_eq!(numbers(text).as_deref(), expected, "{text}");
    }
}

#[test]
fn a_choice_works_with_the_others_and_says_why() {
    let table = read(TABLE).unwrap();
    let choose = |kubernetes: &str, written: Option<&str>, kept: Option<&str>| {
        let choice = table.choose("tool", written, &facts(&[("kubernetes", kubernetes)]), kept);
        choice.map(|choice| (choice.version, choice.why, choice.row.unwrap_or_default()))
    };
    let chosen = |version: &str, why: &str, row: &str| Ok((version.into(), why.into(), row.into()));
    let works = "the newest that works: tool 2 asks for more";
    assert_eq!(choose("1.36.5", None, None), chosen("2.0.3", "the newest release", "compatibility.toml:5"));
    assert_eq!(choose("1.35.9", None, None), chosen("1.10.0", works, "compatibility.toml:13"));
    assert_eq!(
        choose("1.35.9", Some("1.9"), None),
        chosen("1.9.2", "the newest release", "compatibility.toml:5")
    );
    assert_eq!(choose("1.36.5", None, Some("1.9.0")), chosen("1.9.0", KEPT, ""));
    assert_eq!(choose("1.35.9", None, Some("2.0.1")), chosen("1.10.0", works, "compatibility.toml:13"));
    assert_eq!(
        choose("1.35.9", Some("2"), None),
        Err("compatibility.toml has no tool that works with Kubernetes 1.35.9: tool 2 asks for more \
             (compatibility.toml:13)"
            .to_owned())
    );
}

#[test]
fn the_nearest_version_that_works_is_below_if_there_is_one() {
    let working = || ["1.9.2", "1.10.0", "2.0.3"].into_iter();
    for (version, expected) in
        [("1.9.5", "1.9.2"), ("3.0.0", "2.0.3"), ("1.2.0", "1.9.2"), ("1.10.1", "1.10.0")]
    {
        assert_eq!(nearest(version, working()), Some(expected), "{version}");
    }
}
