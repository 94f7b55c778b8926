"""The values that a node must get from user data: what cloud-init's templates and a real shell make of it.

The shell runs only those commands of the user data that can change kubeadm's file, in an empty folder.
"""

import json
import os
import pathlib
import re
import subprocess
import tempfile
import urllib.parse

import capi
import yaml
from cloudinit.handlers.jinja_template import render_jinja_payload

MISSING = "CI_MISSING_JINJA_VAR/"
# Commands that are run, each in one line: they assign variables or write kubeadm's file, and name no other file.
ASSIGNMENT = re.compile(r"export [A-Za-z_]\w*=[^;|&`()]*")
WRITER = re.compile(r"(envsubst|sed|mv|cp|echo|printf|cat)\b[^\n]*")
TAINTS = "--register-with-taints="
NOBODY = 65534
# Programs that the shell finds beside those of coreutils and sed.
STANDINS = {
    "envsubst": r"""#!/usr/bin/python3
import os, re, sys
name = re.compile(r"\$(?:(\w+)|\{(\w+)\})")
sys.stdout.write(name.sub(lambda found: os.environ.get(found[1] or found[2], ""), sys.stdin.read()))
""",
    "jq": r"""#!/usr/bin/python3
import json, sys
value = json.load(sys.stdin)
for key in sys.argv[-1].strip(".").split("."):
    value = value[key]
print(value)
""",
    "curl": '#!/bin/sh\necho "$ORACLE_IMDS"\n',
    "hostname": '#!/bin/sh\necho "$ORACLE_NAME"\n',
}


class Undefined(Exception):
    """cloud-init has no value for a variable of the template."""


def rendered(user_data, machine):
    if not user_data.startswith("## template: jinja"):
        return user_data
    data = {"ds": machine.ds, "v1": machine.v1, "base64-encoded-keys": []}
    made = render_jinja_payload(user_data, "user-data", data)
    if made is None:
        raise Undefined("the template cannot be rendered")
    if MISSING in made:
        raise Undefined(re.search(MISSING + r"(\S+)", made)[1])
    return made


def content_of(file):
    source = file["contents"]["source"]
    return urllib.parse.unquote(source.split(",", 1)[1]) if source.startswith("data:,") else ""


def opened(user_data, machine):
    """kubeadm's file and the commands before kubeadm."""
    if user_data.startswith("{"):
        files = {file["path"]: content_of(file) for file in json.loads(user_data)["storage"]["files"]}
        commands = files["/etc/kubeadm.sh"].split("\nkubeadm join")[0].splitlines()
        return files[capi.CONFIG_OF["ignition"]], commands
    config = yaml.safe_load(rendered(user_data, machine))
    path = capi.CONFIG_OF["cloud-config"]
    content = next(file["content"] for file in config["write_files"] if file["path"] == path)
    commands = []
    for command in config["runcmd"]:
        if isinstance(command, str) and command.startswith("kubeadm join"):
            break
        commands.append(command if isinstance(command, str) else " ".join(command))
    return content, commands


def is_run(line, path):
    others = re.sub(r"'http://[^']*'", "", line.replace(path, ""))
    is_writer = WRITER.fullmatch(line) and path in line and not re.search(r"(^|[\s<>\"'=])/\w", others)
    return bool(ASSIGNMENT.fullmatch(line) or is_writer)


def changed(content, commands, machine, path):
    """kubeadm's file after the commands."""
    chosen = [line for line in map(str.strip, commands) if is_run(line, path)]
    if not chosen:
        return content
    with tempfile.TemporaryDirectory(prefix="kiln-oracle-") as folder:
        folder = pathlib.Path(folder)
        folder.chmod(0o777)
        for name, text in STANDINS.items():
            (folder / "bin").mkdir(exist_ok=True)
            (folder / "bin" / name).write_text(text)
            (folder / "bin" / name).chmod(0o755)
        here = folder / "config"
        here.write_text(content)
        here.chmod(0o666)
        script = "\n".join(chosen).replace(path, str(here))
        environment = {
            "PATH": f"{folder}/bin:/usr/bin:/bin", **machine.afterburn, "ORACLE_NAME": machine.node_name,
            "ORACLE_IMDS": json.dumps((machine.ds.get("meta_data") or {}).get("imds") or {}),
        }  # fmt: skip
        user = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
        done = subprocess.run(
            ["bash", "-ec", script], env=environment, cwd=folder, capture_output=True, check=False, **user
        )
        if done.returncode:
            raise Undefined(f"the shell fails: {done.stderr.decode().strip()[-200:]}")
        return here.read_text()


def values(user_data, machine):
    """What the node must get: name, arguments of the kubelet, taints, and how it finds the cluster."""
    kind = "ignition" if user_data.startswith("{") else "cloud-config"
    content, commands = opened(user_data, machine)
    content = changed(content, commands, machine, capi.CONFIG_OF[kind])
    join = next(document for document in yaml.safe_load_all(content) if document)
    registration, token = join["nodeRegistration"], join["discovery"]["bootstrapToken"]
    arguments = [f"--{name}={value}" for name, value in capi.arguments(registration.get("kubeletExtraArgs"))]
    taints = [taint(each) for each in registration["taints"]]
    # As in kubeadm, an argument replaces what the node's taints would be.
    given = [each.removeprefix(TAINTS) for each in arguments if each.startswith(TAINTS)]
    return {
        "node": (registration.get("name") or machine.node_name).strip().lower(),
        "arguments": sorted(each for each in arguments if not each.startswith(TAINTS)),
        "taints": sorted(given[-1].split(",") if given else taints),
        "discovery": [
            f"https://{token['apiServerEndpoint']}", f"token {token['token'].split('.')[0]}",
            *(f"pinned {pin}" for pin in token["caCertHashes"]),
        ],
    }  # fmt: skip


def taint(given):
    value = f"={given['value']}" if given.get("value") else ""
    return f"{given['key']}{value}:{given['effect']}"
