mkdir -p /etc/kubernetes
touch /etc/kubernetes/kubelet.conf
