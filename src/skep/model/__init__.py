"""Frozen data that every layer speaks: specifications, events, states, snapshot, plan, messages."""
