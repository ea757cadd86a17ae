"""Draft, try and publish policies over HTTP, and work jobs off as a worker would."""

import threading
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text

from services.scoring.jobs import JOBS
from shared.jobs.runner import RunningJob
from tests.scoring.world import World


def drafted(world: World, **changes: Any) -> dict[str, Any]:
    reply = world.scoring.client.post("/v1/tier-policies", json={"changes": changes})
    assert reply.status_code == 201, reply.text
    return reply.json()


def published(world: World, draft: dict[str, Any], **more: Any) -> dict[str, Any]:
    reply = world.scoring.client.post(
        f"/v1/tier-policies/{draft['id']}/publish", json=more, headers={"If-Match": "*"}
    )
    assert reply.status_code == 200, reply.text
    return reply.json()


def tried(world: World, draft: dict[str, Any], as_of: datetime | None = None) -> dict[str, Any]:
    """The finished backtest of a policy."""
    job = begun(world, draft, as_of)
    JOBS[job.kind](job)
    return world.scoring.client.get(f"/v1/backtests/{job.id}").json()


def begun(world: World, draft: dict[str, Any], as_of: datetime | None = None) -> RunningJob:
    body = {} if as_of is None else {"as_of": as_of.isoformat()}
    reply = world.scoring.client.post(f"/v1/tier-policies/{draft['id']}/backtest", json=body)
    assert reply.status_code == 202, reply.text
    return worker(world, UUID(reply.json()["id"]))


def worker(world: World, job_id: UUID) -> RunningJob:
    """A job in the hands of the next worker, where its cursor stands."""
    with world.scoring.sessions.begin() as session:
        row = session.execute(
            text("update shared.job set state = 'running', epoch = epoch + 1 where id = :id returning *"),
            {"id": job_id},
        ).one()
    return RunningJob(
        id=job_id,
        kind=row.kind,
        parameters=row.parameters,
        cursor=row.cursor,
        report=row.report,
        created_by=row.created_by,
        settings=world.scoring.settings,
        sessions=world.scoring.sessions,
        engine=world.scoring.engine,
        epoch=row.epoch,
        stop=threading.Event(),
    )


def tiers(world: World) -> dict[UUID, tuple[str, bool]]:
    """Everybody's tier, and whether its loss is announced."""
    with world.scoring.sessions() as session:
        rows = session.execute(
            text("select customer_id, tier, downgrade_due_at is not null as due from tier")
        )
        return {row.customer_id: (row.tier, row.due) for row in rows}
