"""The control plane: everything that may be asked, the cycle, leases, and the loop."""
