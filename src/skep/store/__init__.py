"""The event log, the current state beside it, and the folders for logs and bundles."""
