mkdir -p /etc/containerd
printf '%s\n' 'version = 2' '[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]' 'runtime_type = "io.containerd.runc.v2"' \
  '[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]' 'SystemdCgroup = true' > /etc/containerd/config.toml
systemctl restart containerd
for _ in $(seq 300); do [ ! -S /run/containerd/containerd.sock ] || break; sleep 0.1; done
