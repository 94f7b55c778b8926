//! Worker templates of Cluster API's infrastructure providers work as they are: `tests/templates/judge`
//! renders them as Cluster API does and gives them to the agent on a machine of their provider.

use std::path::{Path, PathBuf};
use std::process::Command;

use kiln_tests::{kiln, workspace};

/// What the judge is written in: the distribution's Python, for which cloud-init is installed.
const PYTHON: &str = "/usr/bin/python3";

/// Judges the templates in `folder`; panics with the table if they are not as they must be.
fn judge(test: &str, folder: &Path) {
    let probe = Command::new(PYTHON).args(["-c", "import cloudinit, jinja2, yaml"]).output();
    if !probe.is_ok_and(|output| output.status.success()) {
        return testkit::not_run(test, "no cloud-init for /usr/bin/python3");
    }
    let program = workspace::root().join("tests/templates/judge");
    let output = Command::new(program).arg(folder).arg(kiln::programs()).output().unwrap();
    let table = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{table}{}", String::from_utf8_lossy(&output.stderr));
    println!("{table}");
    if table.contains("not run: ") {
        testkit::not_run(test, "no loop device for the drives of some machines");
    }
}

#[test]
fn each_kind_of_template_gives_the_values_that_cloud_init_gives() {
    judge(
        "each_kind_of_template_gives_the_values_that_cloud_init_gives",
        &workspace::root().join("tests/cases/templates"),
    );
}

#[test]
fn released_templates_work_as_they_are() {
    let collected = std::env::var_os("KILN_TEMPLATES").map(PathBuf::from);
    match collected {
        Some(folder) => judge("released_templates_work_as_they_are", &folder),
        None => testkit::not_run(
            "released_templates_work_as_they_are",
            "no released templates: tests/templates/collect gathers them for KILN_TEMPLATES",
        ),
    }
}
