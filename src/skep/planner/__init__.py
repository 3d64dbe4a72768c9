"""The performance model: how fast a job runs on which chips. Pure."""
