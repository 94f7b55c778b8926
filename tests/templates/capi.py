"""What Cluster API's kubeadm bootstrap provider makes of a KubeadmConfig for a worker: the cloud-config or Ignition
config that becomes the machine's user data.

The texts follow bootstrap/kubeadm/pkg/cloudinit and bootstrap/kubeadm/pkg/ignition of kubernetes-sigs/cluster-api.
"""

import json
import re
import urllib.parse

import yaml

ENDPOINT = "10.0.0.1:6443"
TOKEN = "abcdef.0123456789abcdef"
PIN = "sha256:" + "0123456789abcdef" * 4
UNINITIALIZED = {"key": "node.cluster.x-k8s.io/uninitialized", "effect": "NoSchedule"}
KUBEADM_VERSIONS = ("v1beta2", "v1beta3", "v1beta4")
CONFIG_OF = {"cloud-config": "/run/kubeadm/kubeadm-join-config.yaml", "ignition": "/etc/kubeadm.yml"}


class Unknown(Exception):
    """The template holds something that this file cannot render."""


def arguments(given):
    """kubeletExtraArgs as pairs: a map up to v1beta1 of Cluster API, a list since."""
    if isinstance(given, dict):
        return sorted((name, text(value)) for name, value in given.items())
    return [(item["name"], text(item.get("value"))) for item in given or []]


def text(value):
    return (
        {True: "true", False: "false", None: ""}.get(value)
        if isinstance(value, (bool, type(None)))
        else str(value)
    )


def taints(registration):
    given = list(registration.get("taints") or [])
    return given if UNINITIALIZED in given else [*given, UNINITIALIZED]


def node_registration(given, version):
    known = {"name", "criSocket", "kubeletExtraArgs", "taints", "ignorePreflightErrors", "imagePullPolicy"}
    if set(given) - known:
        raise Unknown(f"nodeRegistration.{sorted(set(given) - known)[0]}")
    extra = arguments(given.get("kubeletExtraArgs"))
    made = {key: given[key] for key in ("name", "criSocket", "ignorePreflightErrors") if given.get(key)}
    made["taints"] = taints(given)
    if extra:
        as_list = [{"name": name, "value": value} for name, value in extra]
        made["kubeletExtraArgs"] = as_list if version == "v1beta4" else dict(extra)
    if version != "v1beta2":
        made["imagePullPolicy"] = given.get("imagePullPolicy", "IfNotPresent")
    return made


def join_configuration(spec, version):
    """The JoinConfiguration as a document of kubeadm's API `version`."""
    given = spec.get("joinConfiguration") or {}
    unknown = set(given) - {
        "nodeRegistration",
        "discovery",
        "skipPhases",
        "patches",
        "caCertPath",
        "timeouts",
    }
    if unknown:
        raise Unknown(f"joinConfiguration.{sorted(unknown)[0]}")
    # Further fields of the discovery are of no released worker.
    token = (given.get("discovery") or {}).get("bootstrapToken") or {}
    made = {
        "apiVersion": f"kubeadm.k8s.io/{version}",
        "kind": "JoinConfiguration",
        "discovery": {
            "bootstrapToken": {
                "apiServerEndpoint": token.get("apiServerEndpoint") or ENDPOINT,
                "caCertHashes": token.get("caCertHashes") or [PIN],
                "token": token.get("token") or TOKEN,
            }
        },
        "nodeRegistration": node_registration(given.get("nodeRegistration") or {}, version),
    }
    made.update({key: given[key] for key in ("skipPhases", "caCertPath") if given.get(key)})
    if given.get("patches") and version != "v1beta2":
        made["patches"] = given["patches"]
    return yaml.safe_dump(made, sort_keys=True, default_flow_style=False, width=1 << 20, allow_unicode=True)


def indent(width, content):
    return "\n".join(" " * width + line for line in content.split("\n"))


def quote(command):
    """Go's %q."""
    return json.dumps(command, ensure_ascii=False)


def files_of(spec):
    """The files, with the contents of secrets, which the templates only name, as a small JSON document."""
    return [{**file, "content": file.get("content") or "{}\n"} for file in spec.get("files") or []]


def cloud_config_file(file):
    rows = [f"-   path: {file['path']}"]
    rows += [f'    encoding: "{file["encoding"]}"'] if file.get("encoding") else []
    rows += [f"    owner: {file['owner']}"] if file.get("owner") else []
    rows += [f"    permissions: '{file['permissions']}'"] if file.get("permissions") else []
    rows += ["    append: true"] if file.get("append") else []
    return "\n".join([*rows, "    content: |", indent(6, file["content"])])


def list_of(commands):
    return "".join(f"\n  - {quote(command)}" for command in commands or [])


USER_KEYS = {
    "passwd": "passwd", "gecos": "gecos", "groups": "groups", "homeDir": "homedir", "inactive": "inactive",
    "lockPassword": "lock_passwd", "shell": "shell", "primaryGroup": "primary_group", "sudo": "sudo",
}  # fmt: skip


def user(given):
    rows = [f"  - name: {given['name']}"]
    rows += [f"    {key}: {text(given[field])}" for field, key in USER_KEYS.items() if given.get(field)]
    keys = given.get("sshAuthorizedKeys") or []
    rows += ["    ssh_authorized_keys:"] if keys else []
    return "\n" + "\n".join(rows + [f"      - {key}" for key in keys])


def kubeadm_command(spec, path):
    verbosity = f"--v {spec['verbosity']}" if spec.get("verbosity") is not None else ""
    return f"kubeadm join --config {path} {verbosity}"


def disks(setup):
    rows = ["\ndisk_setup:"]
    for disk in setup.get("partitions") or []:
        rows += [f"  {disk['device']}:"]
        rows += [f"    table_type: {disk['tableType']}"] if disk.get("tableType") else []
        rows += [f"    layout: {text(disk.get('layout'))}"]
        rows += ["    overwrite: true"] if disk.get("overwrite") else []
    rows += ["fs_setup:"]
    for made in setup.get("filesystems") or []:
        rows += [
            f"  - label: {made.get('label')}",
            f"    filesystem: {made['filesystem']}",
            f"    device: {made['device']}",
        ]
        rows += [f"    partition: {made['partition']}"] if made.get("partition") else []
        rows += ["    overwrite: true"] if made.get("overwrite") else []
        options = made.get("extraOpts") or []
        rows += ["    extra_opts:"] if options else []
        rows += [f"      - {option}" for option in options]
    return "\n".join(rows)


def cloud_config(spec, join):
    own = [
        {
            "path": CONFIG_OF["cloud-config"],
            "owner": "root:root",
            "permissions": "0640",
            "content": f"---\n{join}",
        },
    ]
    placeholder = (
        "-   path: /run/cluster-api/placeholder\n    owner: root:root\n    permissions: '0640'\n"
        '    content: "This placeholder file is used to create the /run/cluster-api sub directory in a way that is'
        ' compatible with both Linux and Windows (mkdir -p /run/cluster-api does not work with Windows)"'
    )
    files = [cloud_config_file(file) for file in [*files_of(spec), *own]]
    made = "## template: jinja\n#cloud-config\n\nwrite_files:\n" + "\n".join([*files, placeholder])
    if spec.get("bootCommands"):
        made += "\nbootcmd:" + list_of(spec["bootCommands"])
    made += "\nruncmd:" + list_of(spec.get("preKubeadmCommands"))
    made += f"\n  - {kubeadm_command(spec, CONFIG_OF['cloud-config'])}"
    made += " && echo success > /run/cluster-api/bootstrap-success.complete"
    made += list_of(spec.get("postKubeadmCommands"))
    if spec.get("ntp"):
        made += "\nntp:\n  enabled: true\n  servers:" + "".join(
            f"\n    - {server}" for server in spec["ntp"]["servers"]
        )
    if spec.get("users"):
        made += "\nusers:" + "".join(map(user, spec["users"]))
    if spec.get("diskSetup"):
        made += disks(spec["diskSetup"])
    if spec.get("mounts"):
        rows = ["\n    ".join(f"- {item}" for item in mount) for mount in spec["mounts"]]
        made += "\nmounts:" + "".join(f"\n  - {row}" for row in rows)
    return made + "\n"


def data_url(content):
    return "data:," + urllib.parse.quote(content, safe="-_.!~*'()")


UNIT = """[Unit]
Description=kubeadm
# Run only once. After successful run, this file is moved to /tmp/.
ConditionPathExists=/etc/kubeadm.yml
After=network.target
[Service]
# To not restart the unit when it exits, as it is expected.
Type=oneshot
ExecStart=/bin/bash /etc/kubeadm.sh
[Install]
WantedBy=multi-user.target
"""


def script(spec):
    before = "".join(f"\n{command}" for command in spec.get("preKubeadmCommands") or [])
    after = "".join(f"\n{command}" for command in spec.get("postKubeadmCommands") or [])
    return (
        f"#!/bin/bash\nset -e\n{before}\n\n{kubeadm_command(spec, CONFIG_OF['ignition'])}\n"
        "mkdir -p /run/cluster-api && echo success > /run/cluster-api/bootstrap-success.complete\n"
        f"mv /etc/kubeadm.yml /tmp/\n{after}\n"
    )


def ignition_file(path, content, mode, owner=""):
    made = {"filesystem": "root", "path": path, "contents": {"source": data_url(content), "verification": {}}}
    if mode:
        made["mode"] = int(str(mode), 8)
    names = [name.strip() for name in owner.split(":") if name.strip()]
    made.update({key: {"name": name} for key, name in zip(("user", "group"), names)})
    return made


def converted_file(file):
    """A file of a Container Linux Config."""
    contents = file.get("contents") or {}
    made = ignition_file(file["path"], contents.get("inline") or "", None, "")
    if contents.get("remote"):
        made["contents"] = {"source": contents["remote"]["url"], "verification": {}}
    if file.get("mode") is not None:
        # YAML 1.1 has read the octal number.
        made["mode"] = file["mode"]
    return made


def merged_units(own, additional):
    """Units of one name become one, as Ignition's Append leaves them to the machine: both are listed."""
    made = []
    for unit in [*own, *additional]:
        keys = {
            "name": "name",
            "enabled": "enabled",
            "enable": "enabled",
            "mask": "mask",
            "contents": "contents",
        }
        known = {keys[key]: value for key, value in unit.items() if key in keys and value is not None}
        if unit.get("dropins"):
            known["dropins"] = [
                {"name": drop["name"], "contents": drop["contents"]} for drop in unit["dropins"]
            ]
        made.append(known)
    return made


def ignition(spec, join):
    additional = ((spec.get("ignition") or {}).get("containerLinuxConfig") or {}).get(
        "additionalConfig"
    ) or "{}"
    additional = yaml.safe_load(additional) or {}
    unknown = set(additional) - {"storage", "systemd", "passwd"}
    if unknown:
        raise Unknown(f"additionalConfig.{sorted(unknown)[0]}")
    storage = additional.get("storage") or {}
    files = [
        ignition_file(f"/etc/sudoers.d/{user['name']}", f"{user['name']} {user['sudo']}\n", "0600")
        for user in spec.get("users") or []
        if user.get("sudo")
    ]
    files += [
        ignition_file(file["path"], file["content"], file.get("permissions"), file.get("owner") or "")
        for file in files_of(spec)
    ]
    files += [
        ignition_file("/etc/kubeadm.sh", script(spec), "0700"),
        ignition_file("/etc/kubeadm.yml", f"---\n{join}", "0600"),
    ]
    files += [converted_file(file) for file in storage.get("files") or []]
    own_unit = {"name": "kubeadm.service", "enabled": True, "contents": UNIT}
    users = [
        {"name": user["name"], "sshAuthorizedKeys": user.get("sshAuthorizedKeys") or []}
        for user in spec.get("users") or []
    ]
    links = [
        {"filesystem": "root", "path": link["path"], "target": link["target"], "hard": bool(link.get("hard"))}
        for link in storage.get("links") or []
    ]
    return json.dumps(
        {
            "ignition": {"config": {}, "security": {"tls": {}}, "timeouts": {}, "version": "2.3.0"},
            "networkd": {},
            "passwd": {"users": users} if users else {},
            "storage": {"files": files, **({"links": links} if links else {})},
            "systemd": {
                "units": merged_units([own_unit], (additional.get("systemd") or {}).get("units") or [])
            },
        }
    )


KNOWN = {
    "joinConfiguration", "preKubeadmCommands", "postKubeadmCommands", "bootCommands", "files", "users", "format",
    "ignition", "verbosity", "diskSetup", "mounts", "ntp",
    # Of control planes: workers have no use for them.
    "clusterConfiguration", "initConfiguration", "useExperimentalRetryJoin",
}  # fmt: skip


def user_data(spec, version):
    """The user data, for kubeadm's API `version`."""
    if set(spec) - KNOWN:
        raise Unknown(sorted(set(spec) - KNOWN)[0])
    join = join_configuration(spec, version)
    return (ignition if spec.get("format") == "ignition" else cloud_config)(spec, join)


def template_of(document):
    """The spec of a document that makes workers: a KubeadmConfigTemplate, or a pool's KubeadmConfig."""
    spec = document.get("spec") or {}
    if document.get("kind") == "KubeadmConfigTemplate":
        spec = (spec.get("template") or {}).get("spec") or {}
    return spec


def is_windows(spec, name):
    paths = [file.get("path", "") for file in spec.get("files") or []]
    return "win" in re.split(r"[^a-z]+", name) or any(path.lower().startswith("c:") for path in paths)
