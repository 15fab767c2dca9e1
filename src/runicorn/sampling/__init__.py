"""What the machine does, read beside the training: its processes, the host, the cgroup, GPUs. It knows no run."""
