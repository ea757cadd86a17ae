"""The chain of the tables in shared/, the first in every service's database."""

from shared.audit import tables as audit
from shared.auth import tables as auth
from shared.http import tables as http
from shared.jobs import tables as jobs
from shared.messaging import tables as messaging
from shared.migrate import run_environment
from shared.sealing import metadata as sealing
from shared.webhooks import tables as webhooks

run_environment(
    messaging.metadata,
    http.metadata,
    auth.metadata,
    sealing,
    jobs.metadata,
    audit.metadata,
    webhooks.metadata,
)
