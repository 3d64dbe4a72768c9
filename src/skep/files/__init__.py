"""Reads and checks what users write: job, pool and policy files, Slurm scripts, folders to send."""
