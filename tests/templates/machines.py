"""A machine of each infrastructure provider: how it looks to the agent, how the provider hands over the user data,
what cloud-init knows on it, and the provider-id by which the provider's controllers find its node.
"""

import dataclasses
import gzip
import json
import pathlib
import re
import subprocess
import tempfile
import urllib.parse
import uuid

NAME = "cluster-1-md-0-x7k2p-9qzwl"
UUID = "d8e02d56-2648-49a3-bf97-6be8f1204f38"


@dataclasses.dataclass
class Machine:
    # What cloud-init has as `ds`, and the standardized keys that cannot be taken from it.
    ds: dict
    v1: dict
    # By which the provider's controllers know the machine; None where they set it themselves.
    provider_id: str | None
    # The platform that `kiln simulate` plays, with its variables; or the firmware, with a drive or a seed.
    platform: str | None = None
    variables: dict = dataclasses.field(default_factory=dict)
    smbios: dict = dataclasses.field(default_factory=dict)
    label: str | None = None
    files: dict = dataclasses.field(default_factory=dict)
    # What Flatcar's coreos-metadata.service says.
    afterburn: dict = dataclasses.field(default_factory=dict)
    # The name of a node whose config has none, where the provider's controllers expect one.
    node_name: str = NAME
    # How the provider hands the user data over.
    deliver: object = staticmethod(lambda data, collected: data)


def standard(cloud, instance_id, hostname, region=None, zone=None, **more):
    return {
        "cloud_name": cloud, "instance_id": instance_id, "local_hostname": hostname.split(".")[0],
        "region": region, "availability_zone": zone, **more,
    }  # fmt: skip


def zipped(data, _collected):
    return gzip.compress(data.encode(), mtime=0)


def boothook(data, collected):
    """AWS: user data that fetches the real one. The script is the provider's own."""
    found = pathlib.Path(collected, "aws/pkg/cloud/services/secretsmanager/secret_fetch_script.go")
    if "#cloud-config" not in data[:200] or not found.exists():
        return data
    script = found.read_text().split("`", 1)[1].rsplit("`", 1)[0]
    names = {"Region": "eu-west-1", "SecretPrefix": SECRET, "Chunks": "1", "Endpoint": "http://169.254.169.251"}
    script = re.sub(r"\{\{\s*\.(\w+)\s*\}\}", lambda name: names[name[1]], script)
    edge = "b51b1c0a0d4d2d4f6a35e4d7c8a9b0c1d2e3f4a5b6c7d8e9f0a1b2c3d4e5"
    return (
        f'MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary="{edge}"\n\n\n'
        f"--{edge}\r\nContent-Type: text/cloud-boothook\r\n\r\n{script}\r\n"
        f"--{edge}\r\nContent-Type: text/x-include-url\r\n\r\nfile:///etc/secret-userdata.txt\n\r\n--{edge}--\r\n"
    )


SECRET = "aws.cluster.x-k8s.io/0c9a1b2c-3d4e-5f60-7182-93a4b5c6d7e8"


def go_template(data, _collected):
    """Equinix: the controller takes the user data for a template of Go."""
    data = data.replace("{{ .kubernetesVersion }}", "v1.34.1")
    return re.sub(r"\{\{ `(.*?)` \}\}", r"\1", data)


def proxmox_files(data, _collected):
    """Proxmox: an Ignition config gets the machine's values as a file."""
    if not data.startswith("{"):
        return data
    config = json.loads(data)
    environment = f"COREOS_CUSTOM_HOSTNAME={NAME}\nCOREOS_CUSTOM_INSTANCE_ID={UUID}\nCOREOS_CUSTOM_PROVIDER_ID=proxmox://{UUID}"
    for path, content in (("/etc/hostname", NAME), ("/etc/proxmox-env", environment)):
        source = "data:," + urllib.parse.quote(content)
        config["storage"]["files"].append(
            {"filesystem": "root", "path": path, "contents": {"source": source}, "mode": 420}
        )
    return json.dumps(config)


def with_address(data, _collected):
    """Scaleway: the controller fills in the machine's address."""
    return data.replace("[[[ .NodeIP ]]]", "10.0.0.7")


def with_provider_id(data, _collected):
    """Tinkerbell: the controller fills in the provider-id."""
    return data.replace("PROVIDER_ID", f"tinkerbell://default/{NAME}")


def aws():
    hostname = "ip-10-0-0-5.eu-west-1.compute.internal"
    instance = "i-0a1b2c3d4e5f60718"
    meta = {
        "hostname": hostname, "local-hostname": hostname, "instance-id": instance, "local-ipv4": "10.0.0.5",
        "mac": "06:0a:0b:0c:0d:0e", "placement": {"availability-zone": "eu-west-1b", "region": "eu-west-1"},
        "public-ipv4": "203.0.113.5",
    }  # fmt: skip
    return Machine(
        {"meta_data": meta}, standard("aws", instance, hostname, "eu-west-1", "eu-west-1b"),
        f"aws:///eu-west-1b/{instance}", "ec2", deliver=boothook, node_name=hostname,
        afterburn={"COREOS_EC2_HOSTNAME": hostname, "COREOS_EC2_INSTANCE_ID": instance},
    )  # fmt: skip


def azure():
    compute = {"name": NAME, "vmId": UUID, "location": "westeurope", "zone": "1"}
    meta = {"instance-id": UUID, "local-hostname": NAME, "imds": {"compute": compute}}
    path = "subscriptions/8d10da13-8125-4ba9-a717-bf7490507b3d/resourceGroups/kiln-simulated"
    return Machine(
        {"meta_data": meta}, standard("azure", UUID, NAME, "westeurope", "1"),
        f"azure:///{path}/providers/Microsoft.Compute/virtualMachines/{NAME}", "azure",
        {"hostname": NAME, "instance-id": UUID},
    )  # fmt: skip


def cloudstack():
    meta = {"local-hostname": NAME, "instance-id": UUID, "vm-id": UUID, "availability-zone": "zone-1"}
    return Machine(
        {"meta_data": meta}, standard("cloudstack", UUID, NAME, None, "zone-1"),
        f"cloudstack:///{UUID}", "cloudstack", {"hostname": NAME, "instance-id": UUID}, deliver=zipped,
        afterburn={"COREOS_CLOUDSTACK_LOCAL_HOSTNAME": NAME, "COREOS_CLOUDSTACK_INSTANCE_ID": UUID},
    )  # fmt: skip


def digitalocean():
    meta = {
        "instance-id": "2756294",
        "droplet_id": 2756294,
        "local-hostname": NAME,
        "hostname": NAME,
        "region": "nyc3",
    }
    return Machine(
        {"meta_data": meta}, standard("digitalocean", "2756294", NAME, "nyc3"),
        "digitalocean://2756294", "digitalocean", {"hostname": NAME},
    )  # fmt: skip


def gcp():
    hostname = f"{NAME}.europe-west4-a.c.kiln-simulated.internal"
    meta = {
        "instance-id": "4520031799277581759",
        "local-hostname": hostname,
        "availability-zone": "europe-west4-a",
    }
    return Machine(
        {"meta_data": meta},
        standard("gce", meta["instance-id"], hostname, "europe-west4", "europe-west4-a"),
        f"gce://kiln-simulated/europe-west4-a/{NAME}", "gce", {"name": NAME},
    )  # fmt: skip


def hetzner():
    meta = {"instance-id": "42003145", "local-hostname": NAME, "hostname": NAME, "region": "eu-central"}
    return Machine(
        {"meta_data": meta}, standard("hetzner", "42003145", NAME, "eu-central", "hel1-dc2"),
        "hcloud://42003145", "hetzner", {"hostname": NAME},
    )  # fmt: skip


def ibmcloud():
    """A server of the VPC, which has a NoCloud disc."""
    meta = {"instance-id": "0717_" + UUID, "local-hostname": NAME}
    return Machine(
        {"meta_data": meta}, standard("nocloud", meta["instance-id"], NAME), None,
        smbios={"sys_vendor": "QEMU", "product_name": "Standard PC (Q35 + ICH9, 2009)", "chassis_asset_tag": "ibmcloud"},
        files={"meta-data": json.dumps(meta)},
    )  # fmt: skip


def kubevirt():
    meta = {"instance-id": f"{NAME}.default", "local-hostname": NAME}
    return Machine(
        {"meta_data": meta}, standard("kubevirt", meta["instance-id"], NAME), f"kubevirt://{NAME}",
        smbios={"sys_vendor": "KubeVirt", "product_name": "None", "product_uuid": UUID},
        label="cidata", files={"meta-data": json.dumps(meta)},
    )  # fmt: skip


def linode():
    meta = {
        "id": 12345678, "instance-id": 12345678, "label": NAME, "local-hostname": NAME, "region": "us-ord",
        "type": "g6-standard-2",
    }  # fmt: skip
    return Machine(
        {"meta_data": meta}, standard("akamai", "12345678", NAME, "us-ord"), "linode://12345678", "akamai",
        {"hostname": NAME},
        afterburn={
            "COREOS_AKAMAI_INSTANCE_LABEL": NAME, "COREOS_AKAMAI_INSTANCE_ID": "12345678",
            "COREOS_AKAMAI_PRIVATE_IPV4_0": "192.168.134.5/17",
        },
    )  # fmt: skip


def drive_files(meta):
    return {"openstack/latest/meta_data.json": json.dumps(meta), "openstack/latest/network_data.json": "{}"}


def maas():
    """The service does not tell the zone; the controller gives the node its provider-id."""
    meta = {"instance-id": "txs4nc", "local-hostname": f"{NAME}.maas"}
    return Machine(
        {"meta_data": meta}, standard("maas", "txs4nc", f"{NAME}.maas"), None, "maas", {"hostname": f"{NAME}.maas"},
    )  # fmt: skip


def metal3():
    meta = {
        "uuid": UUID, "metal3-namespace": "default", "metal3-name": "node-3", "local-hostname": NAME,
        "local_hostname": NAME, "name": NAME, "providerid": f"default/node-3/{NAME}",
        "provisioningIP": "172.22.0.5", "provisioningCIDR": "24",
    }  # fmt: skip
    return Machine(
        {"meta_data": {**meta, "instance-id": UUID}}, standard("configdrive", UUID, NAME), f"metal3://default/node-3/{NAME}",
        smbios={"sys_vendor": "Dell Inc.", "product_name": "PowerEdge R640", "product_uuid": str(uuid.UUID(int=7))},
        label="config-2", files=drive_files(meta),
    )  # fmt: skip


def nutanix():
    """The drive's UUID is random; the firmware's is the machine's."""
    meta = {"hostname": NAME, "uuid": "5f0e7a52-0000-4000-8000-000000000000"}
    return Machine(
        {"meta_data": {**meta, "instance-id": meta["uuid"], "local-hostname": NAME}},
        standard("configdrive", meta["uuid"], NAME), f"nutanix://{UUID}",
        smbios={"sys_vendor": "Nutanix", "product_name": "AHV", "product_uuid": UUID},
        label="config-2", files=drive_files(meta),
    )  # fmt: skip


def oci():
    instance = (
        "ocid1.instance.oc1.eu-frankfurt-1.antheljtk4h2sqycu7lqvtvz2cmxdr4a5yfdxq6kzgqsvyqtlzq4nq2b7a6q"
    )
    meta = {
        "id": instance,
        "displayName": NAME,
        "hostname": NAME,
        "region": "eu-frankfurt-1",
        "instance_id": instance,
    }
    return Machine(
        {**meta, "meta_data": {"instance-id": instance, "local-hostname": NAME}},
        standard("oracle", instance, NAME, "eu-frankfurt-1"), f"oci://{instance}", "oracle", {"hostname": NAME},
    )  # fmt: skip


def openstack():
    hostname = f"{NAME}.novalocal"
    meta = {
        "uuid": UUID, "instance-id": UUID, "hostname": hostname, "local-hostname": hostname, "name": NAME,
        "availability_zone": "nova",
    }  # fmt: skip
    return Machine(
        {"meta_data": meta}, standard("openstack", UUID, hostname, None, "nova"), f"openstack:///{UUID}", "openstack",
        {"hostname": hostname, "name": NAME, "instance-id": UUID},
        afterburn={"COREOS_OPENSTACK_HOSTNAME": hostname, "COREOS_OPENSTACK_INSTANCE_UUID": UUID},
    )  # fmt: skip


def packet():
    """Equinix Metal's service needs TLS, which the simulator does not speak: the seed says what it says."""
    meta = {"instance-id": UUID, "local-hostname": NAME}
    return Machine(
        {"meta_data": meta}, standard("equinix", UUID, NAME), None,
        smbios={"sys_vendor": "QEMU", "product_name": "Standard PC (Q35 + ICH9, 2009)"},
        files={"meta-data": json.dumps(meta)}, deliver=go_template,
    )  # fmt: skip


def proxmox():
    meta = {
        "instance-id": UUID, "local-hostname": NAME, "hostname": NAME, "provider-id": f"proxmox://{UUID}",
        "kubernetes-version": "v1.34.1",
    }  # fmt: skip
    return Machine(
        {"meta_data": meta}, standard("nocloud", UUID, NAME), f"proxmox://{UUID}",
        smbios={"sys_vendor": "QEMU", "product_name": "Standard PC (Q35 + ICH9, 2009)", "product_uuid": UUID},
        label="cidata", files={"meta-data": json.dumps(meta)}, deliver=proxmox_files,
        # The provider writes them into a file that its template's coreos-metadata.service repeats.
        afterburn={
            "COREOS_CUSTOM_HOSTNAME": NAME, "COREOS_CUSTOM_INSTANCE_ID": UUID,
            "COREOS_CUSTOM_PROVIDER_ID": f"proxmox://{UUID}",
        },
    )  # fmt: skip


def scaleway():
    meta = {
        "id": UUID, "hostname": NAME, "name": NAME, "instance-id": UUID, "local-hostname": NAME, "zone": "fr-par-1",
        "location": {"zone_id": "fr-par-1"},
    }  # fmt: skip
    return Machine(
        {"meta_data": meta}, standard("scaleway", UUID, NAME, None, "fr-par-1"),
        f"scaleway://instance/fr-par-1/{UUID}", "scaleway", {"hostname": NAME, "instance-id": UUID},
        deliver=with_address,
    )  # fmt: skip


def vsphere():
    """The same documents as in guestinfo, which only a real host has, on a NoCloud disk."""
    serial = (
        "VMware-"
        + " ".join(re.findall("..", UUID.replace("-", "")[:16]))
        + "-"
        + " ".join(re.findall("..", UUID.replace("-", "")[16:]))
    )
    meta = {"instance-id": NAME, "local-hostname": NAME, "hostname": NAME}
    return Machine(
        {"meta_data": {**meta, "local_hostname": NAME}}, standard("vmware", NAME, NAME), f"vsphere://{UUID}",
        smbios={
            "sys_vendor": "VMware, Inc.", "product_name": "VMware7,1", "product_uuid": UUID, "product_serial": serial,
        },
        label="cidata", files={"meta-data": json.dumps({"instance-id": NAME, "local-hostname": NAME})},
        afterburn={"COREOS_CUSTOM_HOSTNAME": NAME},
    )  # fmt: skip


def tinkerbell():
    """The service tells what the hardware's record says; the controller writes the provider-id into the user data."""
    meta = {"instance-id": UUID, "local-hostname": NAME, "hostname": NAME}
    return Machine(
        {"meta_data": meta}, standard("ec2", UUID, NAME), f"tinkerbell://default/{NAME}", "tinkerbell",
        {"hostname": NAME, "instance-id": UUID}, deliver=with_provider_id,
    )  # fmt: skip


def vultr():
    meta = {
        "instance-id": UUID,
        "instance-v2-id": UUID,
        "local-hostname": NAME,
        "hostname": NAME,
        "region": "AMS",
    }
    return Machine(
        {"meta_data": meta}, standard("vultr", UUID, NAME, "AMS"), f"vultr://{UUID}", "vultr",
        {"hostname": NAME, "instance-id": UUID},
    )  # fmt: skip


OF_PROVIDER = {
    made.__name__: made()
    for made in (
        aws, azure, cloudstack, digitalocean, gcp, hetzner, ibmcloud, kubevirt, linode, maas, metal3, nutanix, oci,
        openstack, packet, proxmox, scaleway, tinkerbell, vsphere, vultr,
    )
}  # fmt: skip


def run(command):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)


class Agent:
    """Runs `firstboot explain` on machines."""

    def __init__(self, programs):
        self.kiln, self.firstboot = (
            str(pathlib.Path(programs, name).absolute()) for name in ("kiln", "firstboot")
        )

    def explain(self, machine, user_data, whole):
        with tempfile.TemporaryDirectory(prefix="kiln-templates-") as folder:
            folder = pathlib.Path(folder)
            command = [self.firstboot, "explain", "--json", "--rootfs"]
            if machine.platform:
                return self.simulated(machine, user_data, whole, folder, command)
            root = folder / "root"
            write_evidence(machine, root)
            if not machine.label:
                files = {**machine.files, "user-data": user_data}
                write_files(root / "var/lib/cloud/seed/nocloud", files)
                return run(["unshare", "-rn", *command, str(root)])
            name = "user-data" if machine.label == "cidata" else "openstack/latest/user_data"
            with Drive(folder, machine.label, {**machine.files, name: user_data}, root):
                return run(["unshare", "-n", *command, str(root)])

    def simulated(self, machine, user_data, whole, folder, command):
        data = folder / "user-data"
        write_files(folder, {"user-data": user_data})
        sets = [word for pair in machine.variables.items() for word in ("--set", "=".join(pair))]
        simulate = [
            self.kiln,
            "simulate",
            "--quiet",
            "--platform",
            machine.platform,
            *sets,
            "--user-data",
            str(data),
        ]
        keeper = []
        if machine.platform == "ec2":
            # What the boothook names.
            write_files(folder, {"secret": whole})
            keeper = [str(pathlib.Path(__file__).with_name("keeper")), str(folder / "secret")]
        return run([*simulate, "--", *keeper, *command, "{root}"])


def write_files(folder, files):
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


def write_evidence(machine, root):
    write_files(root / "sys/class/dmi/id", {name: f"{value}\n" for name, value in machine.smbios.items()})
    write_files(root / "proc", {"cmdline": "root=LABEL=root\n"})
    write_files(root / "etc", {"machine-id": "0123456789abcdef0123456789abcdef\n"})


class Drive:
    """A file system with a label on a loop device, which `root` shows as its disk. Needs root."""

    def __init__(self, folder, label, files, root):
        self.image, self.root = folder / "drive", root
        write_files(folder / "files", files)
        with open(self.image, "wb") as image:
            image.truncate(4 << 20)
        made = run(["mkfs.ext4", "-q", "-L", label, "-d", str(folder / "files"), str(self.image)])
        if made.returncode:
            raise RuntimeError(made.stderr.decode())

    def __enter__(self):
        attached = run(["losetup", "--find", "--show", "--read-only", str(self.image)])
        if attached.returncode:
            raise PermissionError(attached.stderr.decode().strip())
        self.device = attached.stdout.decode().strip()
        number = pathlib.Path("/sys/class/block", pathlib.Path(self.device).name, "dev").read_text().strip()
        write_files(self.root / "sys/class/block/vdb", {"size": "8192\n"})
        (self.root / "dev").mkdir(parents=True)
        run(["mknod", str(self.root / "dev/vdb"), "b", *number.split(":")])

    def __exit__(self, *_):
        run(["losetup", "--detach", self.device])
