mkdir -p /etc/kubernetes/pki
cp /case/ca.crt /etc/kubernetes/pki/ca.crt
