"""``schedule(snapshot, policy, now) -> plan``. Pure."""
