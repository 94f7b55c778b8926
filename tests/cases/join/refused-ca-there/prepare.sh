mkdir -p /etc/kubernetes/pki
echo old > /etc/kubernetes/pki/ca.crt
