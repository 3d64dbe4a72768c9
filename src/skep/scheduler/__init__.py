"""The scheduler: a snapshot and a policy in, a plan out. Pure."""

from skep.scheduler.schedule import schedule

__all__ = ["schedule"]
