# Runs in the guest as root once it is up; prints facts to the serial console. POSIX sh and coreutils alone; what an image lacks is reported as absent.
exec >/dev/ttyS0 2>&1
# Kernel messages would cut into the lines.
dmesg -n 1 2>/dev/null || echo 1 >/proc/sys/kernel/printk

say() { printf 'KILN-PROBE %s=%s\n' "$1" "$(printf %s "$2" | tr '\n\r' ';;')"; }
has() { command -v "$1" >/dev/null 2>&1; }

# Where the probe is all that systemd was told to boot into (systemd.run=), the rest is started here and is never "running".
alone=no
case " $(cat /proc/cmdline) " in *" systemd.run="*) alone=yes && systemctl start --no-block multi-user.target ;; esac
for _ in $(seq 240); do
  case $(systemctl is-system-running) in running | degraded) break ;; esac
  [ $alone = yes ] && systemctl is-active -q multi-user.target && break
  sleep 1
done
say uptime "$(cut -d' ' -f1 /proc/uptime)"
say state "$(systemctl is-system-running)"
say failed "$(systemctl --failed --no-legend --plain | cut -d' ' -f1)"
say kernel "$(uname -r)"
say systemd "$(systemctl --version | sed -n 1p)"
say cmdline "$(cat /proc/cmdline)"
say machine-id "$(cat /etc/machine-id)"
say boot-id "$(cat /proc/sys/kernel/random/boot_id)"
say kubelet "$(systemctl show kubelet -p LoadState,ActiveState,SubState,ConditionResult,UnitFileState)"
say firstboot "$(journalctl -b -u firstboot -o cat --no-pager 2>/dev/null | tail -8)"
say firstboot-result "$(systemctl show firstboot -p LoadState,Result,ExecMainStatus)"

for _ in $(seq 60); do [ -S /run/containerd/containerd.sock ] && break; sleep 1; done
say containerd "$(systemctl is-active containerd)"
if has crictl; then say crictl "$(crictl --timeout 30s version 2>&1)"; else say crictl absent; fi
if has ctr; then say ctr "$(ctr --connect-timeout 30s plugins ls 2>&1 | grep cri)"; else say ctr absent; fi
# A CRI Version call in bare HTTP/2 (RFC 9113): works on images without crictl, and for the CRI version that the kubelet of the image speaks.
cri_version() {
  perl -e '
    use IO::Socket::UNIX; alarm 30; $| = 1;
    my $path = "/$ARGV[0].RuntimeService/Version";
    sub frame { my ($type, $flags, $stream, $body) = @_; substr(pack("N", length $body), 1) . pack("CCN", $type, $flags, $stream) . $body }
    sub text { chr(length $_[0]) . $_[0] }
    my $headers = "\x83\x86\x04" . text($path) . "\x01" . text("localhost") . "\x0f\x10" . text("application/grpc") . "\x00" . text("te") . text("trailers");
    my $socket = IO::Socket::UNIX->new(Peer => "/run/containerd/containerd.sock") or die "no socket: $!";
    syswrite $socket, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" . frame(4, 0, 0, "") . frame(1, 4, 1, $headers) . frame(0, 1, 1, "\0\0\0\0\0");
    my $all = "";
    while (sysread $socket, my $part, 65536) { $all .= $part; last if $all =~ /containerd|\x01[\x01\x05]\0\0\0\x01/s }
    $all =~ /(containerd)\x1a.([\w.+~-]+)/s ? print "$1 $2\n" : die "no answer of a runtime\n";
  ' "$1" 2>&1
}
if has perl; then
  say cri-v1 "$(cri_version runtime.v1)"
  say cri-v1alpha2 "$(cri_version runtime.v1alpha2)"
else
  say cri-v1 absent
  say cri-v1alpha2 absent
fi

# Preloaded container images, and whether they work: busybox as a bare container, pause as the sandbox of a pod on the machine's own network.
say preload "$(systemctl show preload-images -p ActiveState,Result,Before)"
has ctr && say images "$(ctr --namespace k8s.io images ls -q | grep -v ^sha256:)"
if has ctr && ctr --namespace k8s.io images ls -q | grep -qx localhost/lab/busybox:1; then
  say busybox "$(ctr --namespace k8s.io run --rm localhost/lab/busybox:1 probe /bin/sh -c 'echo from the container' 2>&1)"
  if has crictl; then
    echo '{"metadata":{"name":"probe","namespace":"default","uid":"1"},"linux":{"cgroup_parent":"system.slice","security_context":{"namespace_options":{"network":2}}}}' >/run/probe-pod.json
    crictl --timeout 60s runp /run/probe-pod.json >/dev/null 2>/run/probe-pod.log || say sandbox-error "$(tail -3 /run/probe-pod.log)"
    say sandbox "$(crictl pods --name probe -o json 2>/dev/null | grep -o 'SANDBOX_[A-Z]*')"
    crictl rmp -fa >/dev/null 2>&1
  fi
fi

try_write() { if (: >"$1") 2>/dev/null; then rm -f "$1"; echo writable; else echo refused; fi; }
say write-root "$(try_write /kiln-probe)"
say write-usr "$(try_write /usr/kiln-probe)"
say write-etc "$(try_write /etc/kiln-probe.tmp)"
say write-var "$(try_write /var/kiln-probe.tmp)"
mounted() { awk -v at="$1" '$5 == at { m = $0 } END { split(m, half, " - "); split(half[1], a, " "); split(half[2], b, " "); print b[1], b[2], a[6] "," b[3] }' /proc/self/mountinfo; }
for at in / /etc /var; do say "mount$at" "$(mounted $at)"; done
say var-bytes "$(df -B1 --output=size /var | tail -1 | tr -d ' ')"
say memory-kib "$(sed -n 's/^MemTotal: *\([0-9]*\).*/\1/p' /proc/meminfo)"
say memory-used-kib "$(awk '/^MemTotal/ {t = $2} /^MemAvailable/ {a = $2} END {print t - a}' /proc/meminfo)"
say swap "$(tail -n +2 /proc/swaps)"
say modules "$(grep -oE '^(overlay|br_netfilter) ' /proc/modules; ls -d /sys/module/overlay /sys/module/br_netfilter 2>/dev/null)"
say sysctls "$(for k in net/ipv4/ip_forward net/bridge/bridge-nf-call-iptables; do printf '%s=%s\n' $k "$(cat /proc/sys/$k 2>/dev/null)"; done)"
say host-keys "$(ls /etc/ssh/ssh_host_* 2>/dev/null)"
say passwords "$(awk -F: '$2 !~ /^[!*]/ { print $1 }' /etc/shadow)"
for folder in /home /mnt /opt /root /srv; do say "write$folder" "$(try_write $folder/kiln-probe.tmp)"; done
say apparmor "$(cat /sys/module/apparmor/parameters/enabled 2>/dev/null) $(command -v apparmor_parser)"
say core-pattern "$(cat /proc/sys/kernel/core_pattern)"
# Sockets that others reach, by their ports: local address, state (10 is LISTEN, 07 an open UDP socket). 68 and 546 are DHCP's.
say ports "$(awk '$4 == "0A" || $4 == "07" { print $2 }' /proc/net/tcp /proc/net/tcp6 /proc/net/udp /proc/net/udp6 | while IFS=: read -r at port; do
  case $at in *7F | *0000000001000000) continue ;; esac
  port=$(printf %d "0x$port")
  case $port in 68 | 546) ;; *) echo "$port" ;; esac
done | sort -un)"
say wait-online "$(systemctl show systemd-networkd-wait-online -p ActiveState,Result)"
say pinned "$(ctr --namespace k8s.io images ls 2>/dev/null | grep 'io.cri-containerd.pinned=pinned' | cut -d' ' -f1 | grep -v ^sha256:)"
say address "$(ip -o -4 addr show scope global 2>/dev/null | awk '{print $2, $4}')"

# What an earlier boot of this machine left behind.
say kept-etc "$(cat /etc/kiln-probe 2>/dev/null)"
say kept-var "$(cat /var/lib/kiln-probe 2>/dev/null)"
again=no
[ -e /var/lib/kiln-probe ] && again=yes
cat /etc/machine-id >/etc/kiln-probe
cat /proc/sys/kernel/random/boot_id >/var/lib/kiln-probe
sync
say end 1
if [ "@THEN@" = reboot ] && [ $again = no ]; then systemctl reboot; else systemctl poweroff; fi
