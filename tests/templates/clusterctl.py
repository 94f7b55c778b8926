"""What clusterctl does with a released template: variables are filled in."""

import base64
import re

VARIABLE = re.compile(r"\$\$|\$\{\s*(\w+)\s*(?:(:?[=-]|//?|%%?|##?|\^\^?|,,?)((?:[^{}]|\{[^{}]*\})*))?\}")

VALUES = {
    "CLUSTER_NAME": "cluster-1",
    "NAMESPACE": "default",
    "KUBERNETES_VERSION": "v1.34.1",
    "CI_VERSION": "v1.34.1",
}
# The kinds of values that the names of variables promise; the first that fits counts.
KINDS = [
    (r"_B64$|_BASE64$|_BASE64_ENCODED$", base64.b64encode(b"a value\n").decode()),
    (r"CIDR", "10.128.0.0/16"),
    (r"ENDPOINT_PORT$|_PORT$", "6443"),
    (r"ENDPOINT|_IP$|_HOST$|ADDRESS$|GATEWAY$|NETMASK$", "10.0.0.1"),
    (r"COUNT$|_GIB$|_MIB$|SIZE|NUM|REPLICAS|PREFIX$|_GB$|CPU|_ID$", "1"),
    (r"SSH.*KEY", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA user"),
    (r"CRI_PATH$|CRI_SOCKET", "/var/run/containerd/containerd.sock"),
    (r"EXTRA_CONFIG$", ""),
]


def value_of(name):
    if name in VALUES:
        return VALUES[name]
    for pattern, value in KINDS:
        if re.search(pattern, name):
            return value
    return name.lower().replace("_", "-")


def strip(value, operator, pattern):
    """`%` and `#` with their longest forms; `*` is the only wildcard that templates use."""
    expression = re.escape(pattern).replace(r"\*", ".*")
    cuts = range(len(value) + 1)
    ends = (
        [(value[at:], value[:at]) for at in cuts]
        if operator[0] == "%"
        else [(value[:at], value[at:]) for at in cuts]
    )
    rests = [rest for cut, rest in ends if re.fullmatch(expression, cut, re.DOTALL)]
    if not rests:
        return value
    return (min if len(operator) == 2 else max)(rests, key=len)


def fill(text):
    def one(found):
        name, operator, argument = found.groups()
        if name is None:
            return "$"
        value = value_of(name)
        if operator in (":=", ":-", "=", "-"):
            return VALUES.get(name, fill(argument).strip('"') if argument == '""' else fill(argument))
        if operator in ("/", "//"):
            old, _, new = argument.partition("/")
            return value.replace(old, new, 1 if operator == "/" else -1)
        if operator and operator[0] in "%#":
            return strip(value, operator, argument)
        return value

    return VARIABLE.sub(one, text)
