use std::cell::RefCell;

use super::*;

/// A Windows that is played. A restart ends its notes, and does what is pending.
#[derive(Default)]
struct Played {
    enabled: Vec<String>,
    pending: Vec<String>,
    is_noted: bool,
    /// Features that a restart does not bring.
    stubborn: bool,
    /// What was asked of it.
    asked: Vec<String>,
    /// The number of the call that fails, as a kill at this place would end the run.
    killed_at: Option<usize>,
}

impl Played {
    fn call(&mut self, what: &str) -> Result<()> {
        if self.killed_at == Some(self.asked.len()) {
            return Err(Failure::new(ErrorKind::Internal, "killed"));
        }
        self.asked.push(what.to_owned());
        Ok(())
    }

    fn restarts(&mut self) {
        self.is_noted = false;
        self.killed_at = None;
        if !self.stubborn {
            self.enabled.append(&mut self.pending);
        }
    }

    fn count(&self, what: &str) -> usize {
        self.asked.iter().filter(|asked| *asked == what).count()
    }
}

impl Host for Played {
    fn enable(&mut self, feature: &str, _: &dyn Fn(&str)) -> Result<Enabled> {
        self.call(feature)?;
        if self.enabled.iter().any(|enabled| enabled == feature) {
            return Ok(Enabled::Now);
        }
        if !self.pending.iter().any(|pending| pending == feature) {
            self.pending.push(feature.to_owned());
        }
        Ok(Enabled::AfterRestart)
    }

    fn note_restart(&mut self) -> Result<()> {
        self.call("note")?;
        self.is_noted = true;
        Ok(())
    }

    fn is_restart_noted(&self) -> bool {
        self.is_noted
    }

    fn restart(&mut self) -> Result<()> {
        self.call("restart")
    }
}

fn machine(features: &[&str]) -> (tempfile::TempDir, Root) {
    let folder = tempfile::tempdir().unwrap();
    let root = Root::at(folder.path());
    for feature in features {
        let path = root.path(format!("/{}/{feature}", contract::WINDOWS_FEATURES));
        files::write(&path, b"", files::PUBLIC).unwrap();
    }
    (folder, root)
}

fn next(root: &Root, host: &mut Played) -> Result<Next> {
    enable(root, host, &|_| {})
}

#[test]
fn an_image_that_asks_for_none_asks_nothing_of_windows() {
    let (_folder, root) = machine(&[]);
    let mut host = Played::default();
    assert_eq!(next(&root, &mut host).unwrap(), Next::Join);
    assert!(host.asked.is_empty());
}

#[test]
fn features_cost_one_restart_and_are_not_asked_for_again() {
    let (_folder, root) = machine(&["Microsoft-Hyper-V", "Containers"]);
    let (mut host, said) = (Played::default(), RefCell::new(Vec::new()));
    let tell = |line: &str| said.borrow_mut().push(line.to_owned());
    assert_eq!(enable(&root, &mut host, &tell).unwrap(), Next::Restart);
    assert_eq!(host.asked, ["Containers", "Microsoft-Hyper-V", "note", "restart"]);
    assert!(
        said.borrow()
            .last()
            .unwrap()
            .contains("restarts for the features Containers, Microsoft-Hyper-V")
    );
    host.restarts();
    assert_eq!(next(&root, &mut host).unwrap(), Next::Join);
    let asked = host.asked.len();
    host.restarts();
    assert_eq!(next(&root, &mut host).unwrap(), Next::Join);
    assert_eq!((asked, host.asked.len()), (6, 6));
}

#[test]
fn features_that_the_base_has_cost_no_restart() {
    let (_folder, root) = machine(&["Containers"]);
    let mut host = Played { enabled: vec!["Containers".to_owned()], ..Played::default() };
    assert_eq!(next(&root, &mut host).unwrap(), Next::Join);
    assert_eq!(host.asked, ["Containers"]);
}

#[test]
fn a_restart_that_changed_nothing_is_a_failure_and_no_second_restart() {
    let (_folder, root) = machine(&["Containers"]);
    let mut host = Played { stubborn: true, ..Played::default() };
    assert_eq!(next(&root, &mut host).unwrap(), Next::Restart);
    for _ in 0..3 {
        host.restarts();
        let failure = next(&root, &mut host).unwrap_err();
        assert_eq!(failure.message, "Windows restarted for the features Containers, and still lacks them");
        assert!(failure.kind.is_final() && failure.help.unwrap().contains("dism.log"));
    }
    assert_eq!(host.count("restart"), 1);
    // Once mended by hand, the run goes on.
    host.stubborn = false;
    host.restarts();
    assert_eq!(next(&root, &mut host).unwrap(), Next::Join);
}

#[test]
fn a_run_that_is_killed_at_any_call_goes_on_with_or_without_a_restart_in_between() {
    for killed_at in 0..4 {
        for restarts in [false, true] {
            let (_folder, root) = machine(&["Containers", "Microsoft-Hyper-V"]);
            let mut host = Played { killed_at: Some(killed_at), ..Played::default() };
            assert!(next(&root, &mut host).is_err());
            host.killed_at = None;
            if restarts {
                host.restarts();
            }
            let mut ends = Vec::new();
            while ends.last() != Some(&Next::Join) {
                ends.push(next(&root, &mut host).unwrap());
                host.restarts();
            }
            assert!(ends.len() <= 2, "killed at {killed_at}, restarts {restarts}: {ends:?}");
            assert!(host.count("restart") <= 1, "{:?}", host.asked);
        }
    }
}

#[test]
fn another_image_with_more_features_may_restart_again() {
    let (_folder, root) = machine(&["Containers"]);
    let mut host = Played::default();
    assert_eq!(next(&root, &mut host).unwrap(), Next::Restart);
    host.restarts();
    assert_eq!(next(&root, &mut host).unwrap(), Next::Join);
    let more = root.path(format!("/{}/Microsoft-Hyper-V", contract::WINDOWS_FEATURES));
    files::write(&more, b"", files::PUBLIC).unwrap();
    assert_eq!(next(&root, &mut host).unwrap(), Next::Restart);
}

#[test]
fn a_file_that_is_no_name_of_a_feature_is_refused() {
    let long = "x".repeat(LONGEST_NAME + 1);
    for name in ["a b", "a;b", "ü", &long] {
        let (_folder, root) = machine(&[name]);
        let mut host = Played::default();
        assert_eq!(next(&root, &mut host).unwrap_err().kind, ErrorKind::Config, "{name}");
        assert!(host.asked.is_empty());
    }
}

#[test]
fn the_exit_codes_of_dism_say_what_it_did() {
    let ended = |code: u32| {
        let stdout = "Error\n\nThe operation failed.\n".to_owned();
        answer("Containers", &Output { code: Some(code.cast_signed()), stdout, stderr: String::new() })
    };
    assert_eq!((ended(0).unwrap(), ended(3010).unwrap()), (Enabled::Now, Enabled::AfterRestart));
    for (code, advice) in [(0x800f_080c, "no such feature"), (0x800f_081f, "source"), (87, "dism.log")] {
        let failure = ended(code).unwrap_err();
        assert!(failure.message.contains(&format!("{code:#x}: The operation failed.")), "{failure}");
        assert!(failure.help.unwrap().contains(advice));
    }
}
