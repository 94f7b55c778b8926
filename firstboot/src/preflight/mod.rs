//! What is checked before anything is changed: kubeadm's checks under kubeadm's names, and some that kubeadm lacks.
