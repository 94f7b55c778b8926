//! Scripts that a real bash runs too. What the agent believes of the join must be what kubeadm would have
//! seen, or the agent must refuse. `@` is the root of the folder in which bash runs them.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command as Process;

use super::tests::{Found, found_in};
use super::*;

const CONFIG: &str = "name: n1\nother: x\n";
const JOIN: &str = "kubeadm join --config @/etc/k.yaml";

/// Programs that the scripts may use: they change nothing outside the folder.
const PROGRAMS: &[&str] = &[
    "awk", "base64", "cat", "chmod", "cp", "cut", "dd", "env", "find", "grep", "head", "install", "ln", "ls",
    "mkdir", "mv", "nice", "perl", "printf", "rm", "rmdir", "sed", "seq", "sleep", "sort", "tail", "tee",
    "timeout", "touch", "tr", "truncate", "xargs",
];

/// Plays kubeadm: notes its name for the node and its config, at its first join. `-p` keeps it from
/// `BASH_ENV`, which only scripts of bash read.
const KUBEADM: &str = r#"#!/bin/bash -p
[ "$1" = join ] && [ ! -e @/record ] || exit 0
while [ $# -gt 0 ]; do
  case $1 in --config) config=$2 ;; --config=*) config=${1#--config=} ;; --node-name) name=$2 ;; --node-name=*) name=${1#--node-name=} ;; esac
  shift
done
{ printf 'node %s\n' "$name"; cat "$config"; } > @/record.new
mv @/record.new @/record
"#;

/// Plays hostname: prints a name, or takes another one.
const HOSTNAME: &str = r#"#!/bin/bash -p
case ${1-} in
"") cat @/hostname ;;
-s) cut -d. -f1 @/hostname ;;
-F) cat "$2" > @/hostname ;;
-*) exit 1 ;;
*) echo "$1" > @/hostname ;;
esac
"#;

const HOSTNAMECTL: &str = "#!/bin/bash -p\n[ \"$1\" = set-hostname ] && echo \"$2\" > @/hostname\n";
/// Writes to the file behind `-o` or `-O`, or prints.
const CURL: &str = r##"#!/bin/bash -p
while [ $# -gt 1 ]; do
  case $1 in -o|-O) exec > "$2"; shift ;; -[oO]*) exec > "${1#-[oO]}" ;; -Lo*) exec > "${1#-Lo}" ;; esac
  shift
done
echo 'name: fetched'
"##;

/// What the join sees: the node's name, and its config.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    node: String,
    config: String,
}

fn run(script: &str) -> (Result<Found>, Option<Seen>) {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let text = |text: &str| text.replace('@', root.to_str().unwrap());
    for name in ["bin", "etc", "tmp", "root", "opt"] {
        std::fs::create_dir(root.join(name)).unwrap();
    }
    for (name, program) in [
        ("kubeadm", KUBEADM),
        ("hostname", HOSTNAME),
        ("hostnamectl", HOSTNAMECTL),
        ("curl", CURL),
        ("wget", CURL),
    ] {
        let path = root.join("bin").join(name);
        std::fs::write(&path, text(program)).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    for name in PROGRAMS.iter().chain(&["bash", "sh"]) {
        if let Some(real) = ["/usr/bin", "/bin"]
            .iter()
            .map(|bin| Path::new(bin).join(name))
            .find(|path| path.exists())
        {
            symlink(real, root.join("bin").join(name)).unwrap();
        }
    }
    std::fs::write(root.join("hostname"), "n7.example\n").unwrap();
    std::fs::write(root.join("etc/k.yaml"), CONFIG).unwrap();
    std::fs::write(root.join("opt/env"), "N=n4\n").unwrap();
    let script = text(script);
    let found = found_in(&[&script], &[(&text("@/etc/k.yaml"), CONFIG)], &|name| {
        (name == "v1.local_hostname").then(|| "n7.example".to_owned())
    });
    let status = Process::new("bash")
        .args(["-c", &script])
        .env_clear()
        .env("PATH", root.join("bin"))
        .env("HOME", root.join("root"))
        .current_dir(root)
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    drop(status);
    let seen = std::fs::read_to_string(root.join("record")).ok().map(|record| {
        let (node, config) = record.split_once('\n').unwrap();
        Seen { node: node.strip_prefix("node ").unwrap().to_owned(), config: config.to_owned() }
    });
    (found, seen)
}

/// Whether the agent follows the script; an error where it believes something else than bash.
fn is_followed(script: &str) -> std::result::Result<bool, String> {
    let (found, seen) = run(script);
    let Ok(found) = found else { return Ok(false) };
    let believed = found.join.map(|join| Seen {
        node: join.node_name.unwrap_or_default(),
        config: found.config.unwrap_or_default(),
    });
    // A join whose config is not there is refused later.
    if believed.as_ref().is_some_and(|believed| believed.config.is_empty()) {
        return Ok(false);
    }
    if believed == seen { Ok(true) } else { Err(format!("{script}: {believed:?} instead of {seen:?}")) }
}

/// Scripts that people write: each has to be followed.
#[test]
fn simple_scripts_are_followed_as_bash_runs_them() {
    let mut wrong = Vec::new();
    for script in [
        "JOIN",
        "sed -i s/n1/n2/ @/etc/k.yaml; JOIN",
        "sed -i s/n1/n2/ @/etc//k.yaml; JOIN",
        "sed -i s/n1/n2/ @/etc/./k.yaml; kubeadm join --config @//etc/k.yaml",
        "F=@/etc/k.yaml\nsed -i s/n1/n2/ $F\nkubeadm join --config \"${F}\"",
        "D=@/etc\necho 'b: c' >> $D/k.yaml\nJOIN",
        "echo 'b: c' | tee -a @/etc/k.yaml > /dev/null\nJOIN",
        "sed s/n1/n2/ @/etc/k.yaml > @/tmp/x; mv @/tmp/x @/etc/k.yaml; JOIN",
        "mv @/etc/k.yaml @/root/k.yaml; kubeadm join --config @/root/k.yaml",
        "cp @/etc/k.yaml @/tmp/a; sed -i s/n1/n2/ @/tmp/a; cp @/tmp/a @/etc/; JOIN",
        "sed -i \"s/n1/$(hostname -s)/\" @/etc/k.yaml; JOIN",
        "sed -i \"s/n1/`hostname`/\" @/etc/k.yaml; JOIN",
        "cat <<EOF > @/tmp/k\nname: $(hostname -s)\nEOF\nkubeadm join --config @/tmp/k",
        "F=@/tmp/k\ncat <<EOF > $F\nname: x\nEOF\nkubeadm join --config $F",
        "cat <<-EOF > @/tmp/k\n\tname: x\n\tEOF\nkubeadm join --config @/tmp/k",
        "cat <<EOF > @/tmp/k\nname: x\n\tEOF\nEOF\nkubeadm join --config @/tmp/k",
        "hostnamectl set-hostname n9\nJOIN --node-name $(hostname)",
        "hostname n9\nJOIN --node-name $(hostname)",
        "echo n9.b > @/tmp/h; hostname -F @/tmp/h; JOIN --node-name $(hostname -s)",
        "echo n9 > @/tmp/h; JOIN --node-name $(cat @/tmp/h)",
        "C='JOIN'\n$C --node-name n9",
        "C='JOIN'\nbash -c \"$C\"",
        "C='JOIN'\neval $C",
        "A='--node-name n5'\nJOIN $A",
        "A=--node-name\nJOIN $A\"=n5\"",
        "echo 'JOIN' | bash",
        "echo 'JOIN' | sh -",
        "bash <<E\nJOIN\nE",
        "echo 'JOIN' > @/tmp/j; bash @/tmp/j",
        "echo 'JOIN' > @/tmp/j; . @/tmp/j",
        "printf '#!/bin/sh\\nJOIN\\n' > @/tmp/j; chmod +x @/tmp/j; @/tmp/j",
        "echo 'JOIN' > @/tmp/j; sh < @/tmp/j",
        "f() { sed -i s/n1/n2/ @/etc/k.yaml; }\nf\nJOIN",
        "f() {\n  kubeadm join --config $1 --node-name $2\n}\nf @/etc/k.yaml n3",
        "function f { N=n3; }\nf; JOIN --node-name $N",
        "f() { N=n6; }\nN=n5\nJOIN --node-name $N",
        "f() { return 0; JOIN --node-name n3; }\nf; JOIN",
        "f() { sed -i s/n1/n2/ @/etc/k.yaml; }\nJOIN",
        "N=n5\nbash -c 'N=n6'\nJOIN --node-name $N",
        "export N=n5\nbash -c 'JOIN --node-name $N'",
        "N=n5 bash -c 'JOIN --node-name $N'",
        "set -a; N=n5; bash -c 'JOIN --node-name $N'",
        "set -e; { N=n5; }; JOIN --node-name $N",
        "N=n5; N=n6; JOIN --node-name n$N",
        "( echo 'b: c' >> @/etc/k.yaml )\nJOIN",
        "for i in 1 2 3; do JOIN && break; sleep 5; done",
        "if true; then JOIN; fi",
        "bash -c 'exit 0'; JOIN",
        "JOIN > @/tmp/log 2>&1; exit 0",
        "mkdir -p @/tmp/d && sed -i s/n1/n2/ @/etc/k.yaml && JOIN",
        "ls @/etc && sed -i s/n1/n2/ @/etc/k.yaml && JOIN",
        "[ -f @/nothing ] && exit 0\nsed -i s/n1/n2/ @/etc/k.yaml\nJOIN",
        "printf '[ -f @/nothing ] && exit 0\\nsed -i s/n1/n2/ @/etc/k.yaml\\nJOIN\\n' > @/tmp/j; sh @/tmp/j",
        "f() { [ -f @/nothing ] && return 0; sed -i s/n1/n2/ @/etc/k.yaml; JOIN; }\nf",
        "N=n2; cat >\"@/tmp/k\"<<EOF\nname: $N\nEOF\nkubeadm join --config @/tmp/k",
        "F=@/etc/k.yaml.in; cp @/etc/k.yaml ${F%.in}; sed -i s/n1/n2/ \"${F%.*}\"; JOIN",
        "F=@/etc/k.yaml; sed -i s/n1/n2/ ${F%/*}/${F##*/}; JOIN",
        "N=n1; f() { JOIN --node-name $N; }\nN=n2 f",
        "OUT=$(JOIN --node-name n4)",
        "bash -c 'hostname n9'; JOIN --node-name $(hostname)",
        "( hostname n9 ); JOIN --node-name $(hostname)",
        "if ! OUT=$(JOIN 2>&1); then exit 1; fi",
        "case $1 in (a|b) echo ;; *) JOIN ;; esac",
        "( cd @/tmp; sed -i s/n1/n2/ @/etc/k.yaml ) && JOIN",
        "cp -av @/etc/k.yaml @/tmp/k; kubeadm join --config @/tmp/k",
        "echo 'b: c' | tee -ai @/etc/k.yaml; JOIN",
        "set -e\nfalse || true\nif false; then :; fi\n! true\nfalse | true\n[ -f @/nothing ] && true\nJOIN",
        "set -e; f() { false; N=n2; }; N=n1; f || true; JOIN --node-name $N",
        "set -e; set +e; false; JOIN",
        "set -euo pipefail; sed -i s/n1/n2/ @/etc/k.yaml; JOIN",
        "bash -ec 'false; echo b >> @/etc/k.yaml'; JOIN",
        "printf '#!/bin/bash -e\\nfalse\\necho b >> @/etc/k.yaml' > @/tmp/s; chmod +x @/tmp/s; @/tmp/s; JOIN",
        "bash -n @/etc/k.yaml; JOIN",
        "echo N=n5 > @/tmp/s; BASH_ENV=@/tmp/s bash -c 'JOIN --node-name $N'",
        "echo N=n5 > @/tmp/s; export BASH_ENV=@/tmp/s; N=n6 bash -c 'JOIN --node-name $N'",
        "mkdir -p @/tmp/d; cp @/etc/k.yaml @/tmp/d; kubeadm join --config @/tmp/d/k.yaml",
        "mkdir @/tmp/d; mv @/etc/k.yaml @/tmp/d; sed -i s/n1/n2/ @/tmp/d/k.yaml; kubeadm join --config @/tmp/d/k.yaml",
        "echo 'echo b >> @/etc/k.yaml' > @/tmp/s; sh @/tmp/s; sh @/tmp/s; JOIN",
    ] {
        let script = script.replace("JOIN", JOIN);
        match is_followed(&script) {
            Ok(true) => {}
            Ok(false) => wrong.push(format!("{script} is refused: {:?}", run(&script).0)),
            Err(other) => wrong.push(other),
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// What is not followed is refused: the agent never believes something else than bash. Conditions are the
/// exception: a join behind `if` or in a `case` counts, whatever the condition is.
#[test]
fn the_agent_never_believes_something_else_than_bash() {
    let mut wrong = Vec::new();
    for script in [
        "cd @/etc; sed -i s/n1/n2/ k.yaml; JOIN",
        "cd @/etc; echo 'b: c' >> k.yaml; JOIN",
        "cd @; sed -i s/n1/n2/ etc/k.yaml; JOIN",
        "sed -i s/n1/n2/ @/etc/k*.yaml; JOIN",
        "sed -i s/n1/n2/ @/etc/*; JOIN",
        "sed -i s/n1/n2/ @/*/k.yaml; JOIN",
        "sed -i s/n1/n2/ @/etc/?.yaml; JOIN",
        "sed -i s/n1/n2/ @/etc/[a-k].yaml; JOIN",
        "sed -i s/n1/n2/ @/etc/{k,x}.yaml; JOIN",
        "sed -i s/n1/n2/ @/tmp/../etc/k.yaml; JOIN",
        "find @/etc -name k.yaml -exec sed -i s/n1/n2/ {} +; JOIN",
        "find @/etc -type f -exec sed -i s/n1/n2/ {} +; JOIN",
        "find @/etc -type f -delete; JOIN",
        "grep -rl n1 @/etc | xargs sed -i s/n1/n2/; JOIN",
        "ls @/etc/*.yaml | while read F; do sed -i s/n1/n2/ $F; done; JOIN",
        "for F in @/etc/*.yaml; do sed -i s/n1/n2/ $F; done; JOIN",
        "for F in @/etc/k.yaml; do sed -i s/n1/n2/ \"$F\"; done; JOIN",
        "F=@/etc/k.yaml\nif true; then sed -i s/n1/n2/ $F; fi\nJOIN",
        "F=@/etc/k.yaml\nsed -i \"s/n1/$(curl http://x)/\" $F\nJOIN",
        "F=$(ls @/etc/k.yaml)\nsed -i s/n1/n2/ $F\nJOIN",
        "F=k\nif true; then F=k.yaml; fi; sed -i s/n1/n2/ @/etc/$F\nJOIN",
        "F=@/etc/k.yaml\necho \"a: $(curl x)\" >> $F\nJOIN",
        "D=@/etc\n[ -d @/tmp ] && echo 'b: c' | tee -a $D/k.yaml\nJOIN",
        "ln -s @/etc @/root/e; sed -i s/n1/n2/ @/root/e/k.yaml; JOIN",
        "ln -s @/etc/k.yaml @/root/k; sed -i s/n1/n2/ --follow-symlinks @/root/k; JOIN",
        "mv @/etc/k.yaml @/root; JOIN",
        "mv @/etc @/root/e; JOIN",
        "rm -r @/etc; mkdir @/etc; echo 'name: a' > @/etc/k.yaml; JOIN",
        "mkdir @/tmp/n; echo 'name: a' > @/tmp/n/k.yaml; cp @/tmp/n/* @/etc; JOIN",
        "mkdir @/tmp/n; echo \"name: $(curl x)\" > @/tmp/n/k.yaml; cp -r @/tmp/n/. @/etc; JOIN",
        "echo 'name: a' > @/tmp/k.yaml; mv -t @/etc @/tmp/k.yaml; JOIN",
        "install -m600 @/etc/k.yaml @/root/k.yaml; kubeadm join --config @/root/k.yaml",
        "perl -pi -e 's/n1/n2/' @/etc/k.yaml; JOIN",
        "F=@/etc/k.yaml; perl -pi -e 's/n1/n2/' $F; JOIN",
        "cd @/etc; perl -e 'open(F, \">>k.yaml\"); print F \"x\"'; JOIN",
        "echo 's/n1/n2/' > @/tmp/s; sed -i -f @/tmp/s @/etc/k.yaml; JOIN",
        "printf 'open(F, \">>@/etc/k.yaml\"); print F \"x\"' > @/tmp/p; perl @/tmp/p; JOIN",
        "echo x | dd of=@/etc/k.yaml; JOIN",
        "truncate -s0 @/etc/k.yaml; JOIN",
        "rm @/etc/k.yaml; JOIN",
        "rm -rf @/etc/*.yaml; JOIN",
        ": > @/etc/k.yaml; JOIN",
        "> @/etc/k.yaml; JOIN",
        "2> @/etc/k.yaml ls; JOIN",
        "ls &> @/etc/k.yaml; JOIN",
        "ls >& @/etc/k.yaml; JOIN",
        "exec 3>&1 > @/etc/k.yaml; echo x; JOIN",
        "exec > @/etc/k.yaml; echo x; JOIN",
        "{ echo 'b: c'; } >> @/etc/k.yaml; JOIN",
        "( echo 'b: c' ) >> @/etc/k.yaml; JOIN",
        "( echo 'b: c'; echo d ) | tee -a @/etc/k.yaml; JOIN",
        "for i in a; do echo \"# $i\"; done >> @/etc/k.yaml; JOIN",
        "while read l; do echo $l$l; done < @/etc/k.yaml > @/tmp/x; cp @/tmp/x @/etc/k.yaml; JOIN",
        "if true; then echo a; fi > @/etc/k.yaml; JOIN",
        "f() { sed -i s/n1/n2/ $1; }\nf @/etc/k.yaml\nJOIN",
        "f() { sed -i s/n1/n2/ \"$@\"; }\nf @/etc/k.yaml\nJOIN",
        "f() { echo 'b: c' >> @/etc/k.yaml; }\nif true; then f; fi; JOIN",
        "f() { echo 'b: c' >> @/etc/k.yaml; }\nr() { \"$@\"; }\nr f; JOIN",
        "f() { echo 'b: c'; } >> @/etc/k.yaml\nf; JOIN",
        "echo 'sed -i s/n1/n2/ $1' > @/tmp/j; bash @/tmp/j @/etc/k.yaml; JOIN",
        "curl -o @/etc/k.yaml https://x/y; JOIN",
        "curl -Lo@/etc/k.yaml https://x/y; JOIN",
        "wget -O@/etc/k.yaml https://x/y; JOIN",
        "cd @/etc && wget -O k.yaml https://x/y; JOIN",
        "N=n1\n(N=n2)\nJOIN --node-name $N",
        "N=n5\necho x | N=n6\nJOIN --node-name $N",
        "N=n5\nN=n6 &\nwait; JOIN --node-name $N",
        "N=n5\n{ N=n6; } | cat\nJOIN --node-name $N",
        "N=n5\necho a | { read N; N=n6; }\nJOIN --node-name $N",
        "N=n5\nwhile read N; do :; done < @/etc/k.yaml\nJOIN --node-name $N",
        "N=n5\nread N <<< n6\nJOIN --node-name $N",
        "N=n5\nfor N in n6 n7; do :; done\nJOIN --node-name $N",
        "N=n5\nmapfile N < @/etc/k.yaml\nJOIN --node-name $N",
        "N=5\n((N++))\nJOIN --node-name n$N",
        "N=5\nlet N=N+1\nJOIN --node-name n$N",
        "N=5; : $((N++)); JOIN --node-name n$N",
        "N=; : ${N:=n7}; JOIN --node-name n$N",
        "N=n5\n. @/opt/env\nJOIN --node-name $N",
        "N=n5\nset -a; source @/opt/env\nJOIN --node-name $N",
        "N=n5\nN+=6\nJOIN --node-name $N",
        "N=n5\nN[0]=n6\nJOIN --node-name $N",
        "N=(n5 n6)\nJOIN --node-name $N",
        "N=n5\neval $(echo N=n6)\nJOIN --node-name $N",
        "declare -u N=n6\nJOIN --node-name $N",
        "declare -i N=2+3\nJOIN --node-name n$N",
        "N=n5\nunset N\nJOIN --node-name x$N",
        "N=n5\nprintf -v N %s n6\nJOIN --node-name $N",
        "f() { local N=n6; }\nN=n5\nf\nJOIN --node-name $N",
        "f() { N=n6; }\nN=n5\nif true; then f; fi\nJOIN --node-name $N",
        "f() { N=n6; }\nN=n5\nf | cat\nJOIN --node-name $N",
        "if false; then N=n6; fi; N2=$N; JOIN --node-name x$N2",
        "N=n5; false && N=n6; JOIN --node-name $N",
        "N=n5; true || N=n6; JOIN --node-name $N",
        "N=n5\nbash -c 'JOIN --node-name x$N'",
        "export N=n5\nenv -i PATH=$PATH bash -c 'JOIN --node-name x$N'",
        "N=n5\nexport N=n6; unset N; JOIN --node-name x$N",
        "N='a b'\nJOIN --node-name $N",
        "N='*'\nJOIN --node-name $N",
        "IFS=,; A=--node-name,n5; JOIN $A",
        "hostname $(curl x); JOIN --node-name $(hostname)",
        "if true; then hostname n9; fi; JOIN --node-name $(hostname)",
        "exit 0\nJOIN",
        "[ -f @/nothing ] && exit 0\nJOIN",
        "false || exit 0\nJOIN",
        "true && exit 0\nJOIN",
        "true || exit 0\nJOIN",
        "false && exit 0\nJOIN",
        "sed -i '' s/n1/n2/ @/etc/k.yaml; JOIN",
        "N=; JOIN --node-name ''$N",
        "N=; JOIN $N --node-name n5",
        "N=; JOIN \"$N\" --node-name n5",
        "N=; cp @/etc/k.yaml $N @/tmp/k; kubeadm join --config @/tmp/k",
        "N='n5 n6'; JOIN --node-name x$N",
        "N=' n5'; JOIN --node-name x$N",
        "N=' n5 '; JOIN --node-name $N\"x\"",
        "N=n5; true && N=n6; JOIN --node-name $N",
        "awk '{print \"x\" >> \"@/etc/k.yaml\"}' @/opt/env; JOIN",
        "sed -n 'w @/etc/k.yaml' @/opt/env; JOIN",
        "exec true\nJOIN",
        "f() { exit 0; }\nf\nJOIN",
        "( exit 0 )\nJOIN",
        "f() {\n  JOIN\n}\necho hi",
        "true || JOIN",
        "trap 'JOIN' EXIT",
        "JOIN --node-name n{1,2}",
        "JOIN --node-name $'n\\x31'",
        "JOIN --node-name ~/x",
        "A=(join --config @/etc/k.yaml)\nkubeadm \"${A[@]}\"",
        "alias k=kubeadm\nk join --config @/etc/k.yaml",
        "kubeadm join --config <(cat @/etc/k.yaml)",
        "kubeadm join --config /dev/stdin < @/etc/k.yaml",
        "kubeadm join --config @/etc/../etc/k.yaml",
        "cd @/etc && kubeadm join --config k.yaml",
        "base64 -d <<< bmFtZTogYgo= > @/etc/k.yaml; JOIN",
        "tr 1 2 < @/etc/k.yaml > @/tmp/k; kubeadm join --config @/tmp/k",
    ] {
        let script = script.replace("JOIN", JOIN);
        wrong.extend(is_followed(&script).err());
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Lists of `&&` and `||`, blocks and parentheses, what ends a function or a shell, commands within words,
/// functions and scripts in place of programs, and options that change what a program does.
#[test]
fn the_agent_never_believes_something_else_of_what_is_not_certain() {
    let mut wrong = Vec::new();
    for script in [
        "N=n1\n[ -f @/nothing ] && echo hi && N=n3\nJOIN --node-name $N",
        "[ -f @/nothing ] && true && sed -i s/n1/n2/ @/etc/k.yaml\nJOIN",
        "[ -f @/nothing ] && mkdir -p @/tmp/q && cp @/etc/k.yaml @/tmp/a && sed -i s/n1/n2/ @/etc/k.yaml\nJOIN",
        "[ -f @/nothing ] && (cd /tmp; echo 'b: c' >> @/etc/k.yaml)\nJOIN",
        "N=n1\n[ -f @/nothing ] && { :; } && N=n3\nJOIN --node-name $N",
        "ls @/nothing && echo 'b: c' >> @/etc/k.yaml\nJOIN",
        "N=n1\nls @/nothing && N=n2\nJOIN --node-name $N",
        "N=n1\ncat @/nothing && N=n2\nJOIN --node-name $N",
        "N=n2 bash -c true\nN=n2\ncat >\"@/tmp/k\"<<EOF\nname: $N\nEOF\nkubeadm join --config @/tmp/k",
        "N=n2\ntee '@/tmp/k'<<EOF\nname: $N\nEOF\nkubeadm join --config @/tmp/k",
        "cat > @/tmp/k <<EOF\nname: \\\nx\nEOF\nkubeadm join --config @/tmp/k",
        "cat > @/tmp/k <<EOF\nname: a\\\nEOF\nEOF\nkubeadm join --config @/tmp/k",
        "N=n1\nf() { JOIN --node-name $N; }\nN=n2 f",
        "N=n1\nN=n2 eval 'JOIN --node-name $N'",
        "N=n1\necho 'JOIN --node-name $N' > @/tmp/j\nN=n2 . @/tmp/j",
        "echo -E 'name: x' > @/tmp/k; kubeadm join --config @/tmp/k",
        "sed -ni s/n1/n2/ @/etc/k.yaml; JOIN",
        "printf 'n1\\nn1\\n' > @/tmp/k; sed -zi s/n1/n2/ @/tmp/k; kubeadm join --config @/tmp/k",
        "printf 'naa1\\n' > @/tmp/k; sed -Esi s/na+1/n2/ @/tmp/k; kubeadm join --config @/tmp/k",
        "printf 'n1' > @/tmp/a; sed s/n1/n2/ @/tmp/a @/etc/k.yaml > @/tmp/k; kubeadm join --config @/tmp/k",
        "echo 'name: b' > @/tmp/a; cp -n @/tmp/a @/etc/k.yaml; JOIN",
        "echo 'name: b' > @/tmp/a; mv -n @/tmp/a @/etc/k.yaml; JOIN",
        "echo 'name: b' > @/tmp/a; cp --update=none @/tmp/a @/etc/k.yaml; JOIN",
        "cp -l @/etc/k.yaml @/tmp/x; echo 'b: c' >> @/tmp/x; JOIN",
        "cp -s @/etc/k.yaml @/tmp/x; echo 'b: c' >> @/tmp/x; JOIN",
        "kubeadm() { command kubeadm \"$@\" --node-name n9; }\nJOIN",
        "sed s/n1/n2/ @/etc/k.yaml > @/etc/k.yaml; JOIN",
        "F=~/k.yaml\necho 'name: q' > @/root/k.yaml\nsed -i s/q/n2/ $F\nkubeadm join --config @/root/k.yaml",
        "cd @/etc; sed -i s/n1/n2/ [k].yaml; JOIN",
        "f() ( true; echo 'b: c' >> @/etc/k.yaml )\nJOIN",
        "f() (\nN=n5\nsed -i s/n1/n2/ @/etc/k.yaml\n)\nJOIN",
        "f() { N=n5; }\nN=n1\nunset -f f\nf\nJOIN --node-name $N",
        "cat > @/tmp/p <<'EOF'\n#!/usr/bin/perl\nopen(F, \">>@/etc/k.yaml\"); print F \"x: y\\n\";\nEOF\nchmod +x @/tmp/p\n@/tmp/p\nJOIN",
        "cat > @/tmp/p <<'EOF'\n#!/usr/bin/env perl\nopen(F, \">>@/etc/k.yaml\"); print F \"x: y\\n\";\nEOF\nchmod +x @/tmp/p\ntimeout 5 @/tmp/p\nJOIN",
        "echo 'x: y' | tee -ia @/etc/k.yaml; JOIN",
        "echo 'b: c' | tee -ap @/etc/k.yaml; JOIN",
        "readonly N=n1\nN=n2\nJOIN --node-name $N",
        "printf 'axb a.b\\n' > @/tmp/k; sed -i 's.a\\.b.X.' @/tmp/k; kubeadm join --config @/tmp/k",
        "printf 'a*b aab\\n' > @/tmp/k; sed -i 's*a\\*b*X*' @/tmp/k; kubeadm join --config @/tmp/k",
        "printf 'a|b aab\\n' > @/tmp/k; sed -Ei 's|a\\|b|X|' @/tmp/k; kubeadm join --config @/tmp/k",
        "N=n1; ! true && N=n2; JOIN --node-name $N",
        "(exit 1) && N=n2; JOIN --node-name x$N",
        "N=n1; (exit 1) && N=n2; JOIN --node-name x$N",
        "N=n1; bash -c 'exit 1' && N=n2; JOIN --node-name x$N",
        "N=n1; f() { return 1; }; f && N=n2; JOIN --node-name x$N",
        "N=n1; f() { [ -f @/x ]; }; f && N=n2; JOIN --node-name x$N",
        "f() { [ -f @/x ]; }; f && sed -i s/n1/n2/ @/etc/k.yaml; JOIN",
        "N=n1; rm @/nothing && N=n2; JOIN --node-name $N",
        "N=n1; cd @/nothing && N=n2; JOIN --node-name $N",
        "N=n1; x=$(test -f @/x) && N=n2; JOIN --node-name $N",
        "N=n1; x=$(cat @/nothing) && N=n2; JOIN --node-name $N",
        "f() { sed -i s/n1/n2/ @/etc/k.yaml; }; x=$(f); JOIN",
        "x=$(sed -i s/n1/n2/ @/etc/k.yaml); JOIN",
        "echo $(sed -i s/n1/n2/ @/etc/k.yaml); JOIN",
        "x=`echo 'b: c' >> @/etc/k.yaml`; JOIN",
        "F=@/etc/k.yaml; x=$(echo 'b: c' >> $F); JOIN",
        "echo \"${X:-$(sed -i s/n1/n2/ @/etc/k.yaml)}\"; JOIN",
        "if [ \"$(sed -i s/n1/n2/ @/etc/k.yaml)\" ]; then :; fi; JOIN",
        "[[ $(sed -i s/n1/n2/ @/etc/k.yaml; echo x) == x ]] ; JOIN",
        "cat <<EOF\n$(sed -i s/n1/n2/ @/etc/k.yaml)\nEOF\nJOIN",
        "f() { sed -i s/n1/n2/ @/etc/k.yaml; }\necho \"result: $(f)\"\nJOIN",
        "echo 'sed -i s/n1/n2/ @/etc/k.yaml' > @/tmp/j; x=$(bash @/tmp/j); JOIN",
        "echo 'sed -i s/n1/n2/ @/etc/k.yaml' > @/tmp/j; chmod +x @/tmp/j; echo \"$(@/tmp/j)\"; JOIN",
        "f() { [ -f @/nothing ] || return 0; sed -i s/n1/n2/ @/etc/k.yaml; }\nf\nJOIN",
        "cat > @/tmp/s <<'EOF'\n[ -f @/nothing ] || exit 0\nsed -i s/n1/n2/ @/etc/k.yaml\nEOF\nbash @/tmp/s\nJOIN",
        "( [ -f @/nothing ] || exit 0; echo 'b: c' >> @/etc/k.yaml )\nJOIN",
        "( exit 0; echo 'b: c' >> @/etc/k.yaml )\nJOIN",
        "N=n1; ( case x in x) :;; esac; N=n5 ); JOIN --node-name $N",
        "a() { sed -i s/n1/n2/ @/etc/k.yaml; }; b() { a; }; c() { b; }; d() { c; }; e() { d; }; e; JOIN",
        "echo 'name: x' >@/tmp/k 1>&2; kubeadm join --config @/tmp/k",
        "cat > @/tmp/k <<< 'b: c' < @/etc/k.yaml; kubeadm join --config @/tmp/k",
        "cat <<-EOF > @/tmp/k\n\ta: \\\n\tb\n\tEOF\nkubeadm join --config @/tmp/k",
        "N=~; echo \"name: $N\" > @/tmp/k; kubeadm join --config @/tmp/k",
        "N=a:~/b; echo \"name: $N\" > @/tmp/k; kubeadm join --config @/tmp/k",
        "export N=~/b; echo \"name: $N\" > @/tmp/k; kubeadm join --config @/tmp/k",
        "V=F; F=@/etc/k.yaml; sed -i s/n1/n2/ ${!V}; JOIN",
        "V=@/etc/k.yaml; declare -n R=V; sed -i s/n1/n2/ $R; JOIN",
        "F=@/etc/k.yml; sed -i s/n1/n2/ ${F/yml/yaml}; JOIN",
        "F=@/etc/k.yaml.tmpl; sed -i s/n1/n2/ ${F%.tmpl}; JOIN",
        "F=@/etc/k.yaml.tmpl; sed s/n1/n2/ @/etc/k.yaml > \"${F%.tmpl}.x\"; mv \"${F%.tmpl}.x\" \"${F%.tmpl}\"; JOIN",
        "sh -c 'sed -i s/n1/n2/ $0' @/etc/k.yaml; JOIN",
        "sh -c 'sed -i s/n1/n2/ $1' x @/etc/k.yaml; JOIN",
        "cat <<EOF | xargs sed -i s/n1/n2/\n@/etc/k.yaml\nEOF\nJOIN",
        "cat @/etc/k.yaml >> @/etc/k.yaml; JOIN",
        "tee @/etc/k.yaml < @/etc/k.yaml; JOIN",
        "sed s/n1/n2/ @/etc/k.yaml | tee @/etc/k.yaml; JOIN",
        "set -e\nfalse\nJOIN",
        "set -e; f() { false; N=n2; }; N=n1; f; JOIN --node-name $N",
        "set -o errexit; false; JOIN",
        "bash -c 'set -e; [ -f @/nothing ]; sed -i s/n1/n2/ @/etc/k.yaml'; JOIN",
        "bash -c 'set -e; (false); sed -i s/n1/n2/ @/etc/k.yaml'; JOIN",
        "bash -c 'set -e; f() { [ -f @/nothing ]; }; f; sed -i s/n1/n2/ @/etc/k.yaml'; JOIN",
        "set -n\nJOIN",
        "echo 'sed -i s/n1/n2/ @/etc/k.yaml' > @/tmp/s; BASH_ENV=@/tmp/s bash -c true; JOIN",
        "echo 'sed -i s/n1/n2/ @/etc/k.yaml' > @/tmp/s; export BASH_ENV=@/tmp/s; bash -c true; JOIN",
        "echo 'sed -i s/n1/n2/ @/etc/k.yaml' > @/tmp/s; export BASH_ENV=@/tmp/s; sh -c true; JOIN",
        "echo exit > @/tmp/s; BASH_ENV=@/tmp/s bash -c 'sed -i s/n1/n2/ @/etc/k.yaml'; JOIN",
        "f() { sed -i s/n1/n2/ @/etc/k.yaml; }; export -f f; bash -c f; JOIN",
        "f() { sed -i s/n1/n2/ @/etc/k.yaml; }; declare -fx f; bash -c f; JOIN",
        "echo 'sed -i s/n1/n2/ @/etc/k.yaml' > @/tmp/s; bash -n @/tmp/s; JOIN",
        "mkdir -p @/tmp/k; cp @/etc/k.yaml @/tmp/k; kubeadm join --config @/tmp/k",
        "mkdir -p @/tmp/k; rmdir @/tmp/k; cp @/etc/k.yaml @/tmp/k; kubeadm join --config @/tmp/k",
        "[ -f @/nothing ] && mkdir @/tmp/k; cp @/etc/k.yaml @/tmp/k; kubeadm join --config @/tmp/k",
        "mkdir -p @/tmp/k/l; cp @/etc/k.yaml @/tmp/k; kubeadm join --config @/tmp/k",
        "mkdir -p @/tmp/d; echo 'name: q' > @/tmp/d/k.yaml; cp @/etc/k.yaml @/tmp/d; kubeadm join --config @/tmp/d/k.yaml",
        "echo 'name: q' > @/tmp/k.yaml; mkdir @/tmp/d; cp @/tmp/k.yaml @/tmp/d; mv @/tmp/d @/tmp/e; kubeadm join --config @/tmp/e/k.yaml",
    ] {
        let script = script.replace("JOIN", JOIN);
        wrong.extend(is_followed(&script).err());
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Statements that random scripts are made of.
const STATEMENTS: &[&str] = &[
    "N=n2",
    "N=n3",
    "export N",
    "export N=n4",
    "N=$N",
    "unset N",
    "M=$N",
    "N=$M",
    "F=@/etc/k.yaml",
    "D=@/etc",
    "F=$D/k.yaml",
    "sed -i s/n1/n2/ $F",
    "sed -i s/n1/n2/ @/etc/k.yaml",
    "sed -i \"s/n1/$N/\" $F",
    "echo \"a: $N\" >> $F",
    "echo 'b: c' >> @/etc/k.yaml",
    "cp @/etc/k.yaml @/tmp/a",
    "cp @/tmp/a @/etc/k.yaml",
    "cp @/tmp/a @/etc/",
    "mv @/etc/k.yaml @/tmp/a",
    "mv @/tmp/a $F",
    "cat @/tmp/a > @/etc/k.yaml",
    "cat @/tmp/a @/etc/k.yaml > @/tmp/b",
    "cp @/tmp/b $F",
    "f",
    "g",
    "f() { N=n5; }",
    "g() { echo \"g: $1\" >> @/etc/k.yaml; }",
    "g x",
    "f() { sed -i s/n1/n8/ $F; }",
    "true",
    "false",
    ":",
    "exit 0",
    "return 0",
    "hostname n9",
    "hostname $N",
    "N=$(hostname)",
    "echo $N > @/tmp/h",
    "N=$(cat @/tmp/h)",
    "set -a",
    "set -- p q",
    "N=$1",
    "shift",
    "bash -c 'N=n6'",
    "bash -c 'echo \"x: $N\" >> @/etc/k.yaml'",
    "bash -c \"echo 'x: $N' >> @/etc/k.yaml\"",
    "eval 'N=n7'",
    "eval \"N=$N\"",
    "echo 'N=n7' > @/tmp/s",
    ". @/tmp/s",
    "bash @/tmp/s",
    "echo 'echo \"s: $1 $N\" >> @/etc/k.yaml' > @/tmp/s",
    "sh @/tmp/s y",
    ". @/tmp/s z",
    "cd @/etc",
    "cd @/tmp",
    "rm -f @/tmp/a",
    "touch @/etc/k.yaml",
    "grep -q n1 @/etc/k.yaml",
    "[ -f @/tmp/a ]",
    "[ \"$N\" = n2 ]",
    "read N < @/tmp/h",
    "printf 'p: %s\\n' $N >> $F",
    "N=x$N",
    "N=${N}y",
    "local N=n2",
    "declare N=n3",
    "readonly M=3",
    "echo $N | tee -a $F",
    "echo \"t: u\" | tee -a @/etc/k.yaml >/dev/null",
    "JOIN",
    "JOIN --node-name x$N",
    "exec true",
    "ln -s @/etc/k.yaml @/tmp/l",
    "sed -i --follow-symlinks s/n1/n2/ @/tmp/l",
    "echo z >> @/tmp/l",
    "cat @/tmp/l > @/tmp/a",
    "mkdir @/tmp/d",
    "mv @/etc/k.yaml @/tmp/d",
    "mv @/tmp/d/k.yaml @/etc/",
    "cp @/tmp/d/k.yaml @/etc/k.yaml",
    "tr n m < $F > @/tmp/a",
    "cat < @/tmp/a > $F",
    "base64 $F > @/tmp/a",
    "N=$(cat $F)",
    "N=`cat @/tmp/h`",
    "trap 'N=n2' EXIT",
    "IFS=n",
    "N='a b'",
    "echo -n q >> $F",
    "printf 'k: %s' v >> $F",
    "[ -f @/nothing ]",
    "ls @/nothing",
    "N=$(f; echo n6)",
    "echo \"x$(g y)\"",
    "N=n7 f",
    "N=n7 eval 'M=$N'",
    "f() ( N=n5; g q; )",
    "f() { [ -f @/nothing ] || return 0; N=n9; }",
    "cp -n @/tmp/a $F",
    "cat @/tmp/a > @/tmp/a",
    "F=${F%.yaml}.yaml",
    "case $N in n2) N=n8 ;; esac",
    "set -e",
    "set +e",
    "set -n",
    "set -o errexit",
    "mkdir -p @/tmp/k.yaml",
    "cp $F @/tmp",
    "cp @/tmp/k.yaml @/tmp/a",
    "rmdir @/tmp/d",
    "export -f f",
    "bash -c f",
    "bash -ec 'false; N=n6; f'",
    "export BASH_ENV=@/tmp/s",
    "bash -n @/tmp/s",
    "bash -e @/tmp/s",
    "f || true",
];

/// What a random script begins with.
const BEGIN: &str = "F=@/etc/k.yaml; D=@/etc; echo n1 > @/tmp/h; echo q > @/tmp/a; echo : > @/tmp/s; f() { :; }; g() { :; }\n";

/// Numbers that look random and are the same each time (Knuth's MMIX generator).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit
    }

    fn of<'t>(&mut self, texts: &[&'t str]) -> &'t str {
        texts[self.below(texts.len())]
    }

    fn script(&mut self) -> String {
        let mut script = BEGIN.to_owned();
        for _ in 0..2 + self.below(5) {
            let (a, b) = (self.of(STATEMENTS), self.of(STATEMENTS));
            script += &match self.below(19) {
                0 => format!("if {a}; then {b}; fi\n"),
                14 => format!("[ -f @/nothing ] && {a} && {b}\n"),
                15 => format!("[ -f @/nothing ] && ( {a}; {b} )\n"),
                16 => format!("N=$({a}; {b})\n"),
                17 => format!("bash -c '[ -f @/nothing ] || exit 0; {a}; {b}'\n"),
                18 => format!("[ -f @/nothing ] || {a} && {b}\n"),
                1 => format!("{{ {a}\n{b}\n}}\n"),
                2 => format!("( {a}\n{b}\n)\n"),
                3 => format!("{a} && {b}\n"),
                4 => format!("{a} || {b}\n"),
                5 => format!("for N in a b; do {a}\n{b}\ndone\n"),
                6 => format!("h() {{\n{a}\n{b}\n}}\nh\n"),
                7 => format!("{{ {a}\n{b}\n}} >> $F\n"),
                8 => format!("{a} | {{ {b}\n}}\n"),
                9 => format!("{a} > @/tmp/a\n{b}\n"),
                _ => format!("{a}\n{b}\n"),
            };
        }
        script += self.of(&[
            "JOIN\n",
            "JOIN --node-name x$N\n",
            "kubeadm join --config $F --node-name x\n",
            "JOIN --node-name x$(hostname -s)\n",
        ]);
        script.replace("JOIN", JOIN)
    }
}

/// A join that may not be reached counts, as it does in a condition.
#[test]
fn the_agent_never_believes_something_else_of_random_scripts() {
    let mut numbers = Numbers(1);
    let mut wrong = Vec::new();
    let mut followed = 0;
    for _ in 0..150 {
        let script = numbers.script();
        let may_end = ["exit", "exec", "return", "set -"].iter().any(|word| script.contains(word));
        match is_followed(&script) {
            Ok(is_followed) => followed += usize::from(is_followed),
            Err(other) if may_end && other.ends_with("instead of None") => {}
            Err(other) => wrong.push(other),
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(followed >= 8, "only {followed} are followed");
}
