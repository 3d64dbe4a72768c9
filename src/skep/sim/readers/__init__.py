"""Readers of traces: the Standard Workload Format, skep's own tables, and public traces."""
