"""The event log, the current state beside it, and the folders for logs and bundles."""

from skep.store.base import Loaded, Store
from skep.store.bundles import BundleFolder
from skep.store.logs import LogFolder
from skep.store.memory import MemoryStore
from skep.store.sql import SqlStore, open_store

__all__ = [
    "BundleFolder",
    "Loaded",
    "LogFolder",
    "MemoryStore",
    "SqlStore",
    "Store",
    "open_store",
]
