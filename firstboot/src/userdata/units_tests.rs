use super::*;
use crate::userdata::bounds::Budget;

/// What the units of these names run, line by line.
fn started(units: &[(&str, Option<&str>, &str)], started: &[&str]) -> Vec<String> {
    let mut all = Units::default();
    for (unit, drop_in, text) in units {
        all.add(unit, *drop_in, text).unwrap();
    }
    let budget = Budget::default();
    let files = Workspace::new(&budget);
    let names = started.iter().map(|name| (*name).to_owned()).collect();
    let units = all.start(names, &files);
    let lines = units.iter().flat_map(|unit| [vec![unit.environment(&files)], unit.commands()].concat());
    lines
        .flat_map(|script| script.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>())
        .collect()
}

/// The commands of a single unit.
fn commands(text: &str) -> Vec<String> {
    started(&[("a@b.service", None, text)], &["a@b.service"])
}

#[test]
fn a_command_of_a_unit_is_read_as_systemd_does() {
    for (text, expected) in [
        ("ExecStart=/bin/a b", "'/bin/a' 'b'"),
        ("ExecStart = -/bin/a  \"b c\" 'd e'f", "'/bin/a' 'b c' 'd ef'"),
        ("ExecStart=/bin/a \\\n  # no \\\n; no\n  b \\\n c", "'/bin/a' 'b' 'c'"),
        ("ExecStart=+@/bin/a zero b", "'/bin/a' 'b'"),
        ("ExecStart=!!/bin/a", "'/bin/a'"),
        ("ExecStart=|:/bin/a ${B}", "'/bin/a' '${B}'"),
        ("ExecStart=/bin/a ${B}c $D $E/f x$G $$H $", "'/bin/a' \"${B}\"'c' \"${D}\" '$E/f' 'x$G' '$H' '$'"),
        (
            "ExecStart=/bin/a %% %H %l %i %I %n %N %p %t/x",
            "'/bin/a' '%' \"$(hostname)\" \"$(hostname -s)\" 'b' 'b' 'a@b.service' 'a@b' 'a' '/run/x'",
        ),
        ("ExecStart=/bin/a %m", "'/bin/a' \"$(systemd-specifier)\""),
        ("ExecStart=/bin/a it\\'s \"\" a\\sb", "'/bin/a' 'it'\\''s' '' 'a b'"),
        ("ExecStart=/bin/a\nExecStart=\nExecStart=/bin/b", "'/bin/b'"),
        ("ExecStart=/bin/a ; /bin/b", "'/bin/a'|'/bin/b'"),
        (
            "ExecStartPost=/bin/c\nExecStart=/bin/b\nExecStartPre=/bin/a\nExecStop=/bin/d",
            "'/bin/a'|'/bin/b'|'/bin/c'",
        ),
        (
            "Environment=\"A=b c\" D=e%H\nEnvironment=F\nExecStart=/bin/a",
            "export A='b c'|export D='e'\"$(hostname)\"|'/bin/a'",
        ),
        ("Environment=A=b", "export A='b'"),
        ("ExecStart=/bin/a 'b", "'/bin/a' 'b'"),
    ] {
        let found: Vec<String> = commands(text).iter().map(|line| line.trim().to_owned()).collect();
        assert_eq!(found.join("|"), expected, "{text}");
    }
}

#[test]
fn drop_ins_are_parts_of_their_unit() {
    let units = [
        ("a.service", Some("20.conf"), "ExecStartPre=/bin/2"),
        ("a.service", None, "ExecStart=/bin/3"),
        ("a.service", Some("10.conf"), "ExecStartPre=/bin/1"),
        ("b.service", Some("10.conf"), "ExecStart=/bin/no"),
    ];
    assert_eq!(started(&units, &["a.service"]), ["'/bin/1'", "'/bin/2'", "'/bin/3'"]);
}

#[test]
fn units_run_in_their_order_if_something_starts_them() {
    let units = [
        ("a.service", None, "[Unit]\nAfter=c.service\n[Service]\nExecStart=/bin/a"),
        ("b.service", None, "Before=c.service\nExecStart=/bin/b"),
        ("c.service", None, "ExecStart=/bin/c"),
        ("d.timer", None, "OnBootSec=1"),
        ("d.service", None, "Wants=e.service missing.service\nExecStart=/bin/d"),
        ("e.service", None, "Requires=d.service\nExecStart=/bin/e"),
        ("t@.service", None, "ExecStart=/bin/t %i"),
        ("f.path", None, "Unit=g.service"),
        ("g.service", None, "ExecStart=/bin/g"),
        ("x.service", None, "Before=y.service\nExecStart=/bin/x"),
        ("y.service", None, "Before=x.service\nExecStart=/bin/y"),
    ];
    for (names, expected) in [
        (vec!["a.service", "b.service", "c.service"], "'/bin/b' '/bin/c' '/bin/a'"),
        (vec!["d.timer"], "'/bin/d' '/bin/e'"),
        (vec!["f.path"], "'/bin/g'"),
        (vec!["t@1.service"], "'/bin/t' '1'"),
        (vec!["x.service", "y.service"], "'/bin/x' '/bin/y'"),
        (vec!["missing.service"], ""),
    ] {
        assert_eq!(started(&units, &names).join(" "), expected, "{names:?}");
    }
}

#[test]
fn a_flood_of_units_ends() {
    let mut units = Units::default();
    for number in 0..MOST {
        units.add(&format!("{number}.service"), None, "After=a\nExecStart=/bin/a %n").unwrap();
    }
    assert!(units.add("one.service", None, "").is_err());
    let wide = "Wants=".to_owned() + &"a.service ".repeat(100_000);
    let began = std::time::Instant::now();
    assert_eq!(started(&[("a.service", None, &wide)], &["a.service"]).len(), 0);
    let long = "n".repeat(100_000) + ".service";
    let script = started(&[(&long, None, &format!("ExecStart={}", "%n".repeat(10_000)))], &[&long]);
    assert!(script[0].len() < 1 << 20 && began.elapsed().as_secs() < 20);
}
