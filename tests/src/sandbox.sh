# Runs in the guest as root: runs, lists, stops and removes a sandbox with the image's crictl, by its crictl.yaml, and prints what of that worked.
echo '{"metadata": {"name": "by-hand", "namespace": "test", "uid": "by-hand"}, "log_directory": "/tmp", "linux": {"cgroup_parent": "system.slice"}}' > /run/sandbox.json
crictl() { command crictl --timeout 100s "$@"; }
done=
# The drivers of systemd want a slice. The runtime may still be reading the pause image, and its network is there a little later.
for _ in $(seq 12); do
  id=$(crictl runp /run/sandbox.json 2> /run/sandbox.why) && done=ran && break
  echo "no sandbox yet: $(tr '\n' ' ' < /run/sandbox.why)"
  sleep 5
done
crictl pods --quiet --no-trunc --state Ready | grep -qx "$id" && done="$done, listed"
crictl stopp "$id" >/dev/null && crictl pods --quiet --no-trunc --state NotReady | grep -qx "$id" && done="$done, stopped"
crictl rmp "$id" >/dev/null && done="$done, removed"
echo "sandbox-by-hand: $done; $(tr '\n' ' ' < /run/sandbox.why)"
