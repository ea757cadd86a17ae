"""Long and scheduled work: rows with a lease that any worker may take over where the last one stood."""

from shared.jobs.jobs import create, release

__all__ = ["create", "release"]
