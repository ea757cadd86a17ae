"""The chain of scoring's own tables."""

from services.scoring.tables import metadata
from shared.migrate import run_environment

run_environment(metadata)
