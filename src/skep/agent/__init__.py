"""skep's one process at a site: compares what should run with what runs, and acts on it."""
