"""The chain of the tables in shared/, the first in every service's database."""

from shared import tables
from shared.jobs import tables as jobs
from shared.messaging import tables as messaging
from shared.migrate import run_environment

run_environment(messaging.metadata, tables.metadata, jobs.metadata)
