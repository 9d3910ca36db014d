"""Work in child processes: the persistent worker, its queue, progress, temporary folders."""

from .child_process import JobEvent, Worker

THIRD_PARTY = ("numpy",)
__all__ = ["JobEvent", "Worker"]
