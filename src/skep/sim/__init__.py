"""The digital twin: the product's own cycles with another clock, store and engine."""
