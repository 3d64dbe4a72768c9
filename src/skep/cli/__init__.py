"""The command ``skep``."""
