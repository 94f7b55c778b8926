mkdir -p /etc/kubernetes/manifests
touch /etc/kubernetes/manifests/left-over.yaml
