echo "10.99.0.1 control-plane" >> /etc/hosts
