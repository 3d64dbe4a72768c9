"""Permission rules: who may use which chips where, and since when."""

from skep.rules.decide import Decision, Facts, decide

__all__ = ["Decision", "Facts", "decide"]
