"""The HTTP API: decodes, asks the control plane, encodes."""
