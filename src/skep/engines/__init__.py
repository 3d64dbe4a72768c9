"""What executes runs at a site; one file each."""
