"""skep: many data centres, one computer."""

__version__ = "0.1.0"
