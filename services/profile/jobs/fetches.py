"""Files that turn up in the company's own folders and at its addresses, imported as if somebody had sent them."""

import hashlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import httpx
from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from services.profile.domain import imports
from services.profile.settings import ImportSource, ProfileSettings
from services.profile.tables import import_fetch
from shared import outbound
from shared.errors import Refusal
from shared.jobs import jobs, uploads
from shared.jobs.schedule import Context
from shared.jobs.tables import job

# A file that was written to a moment ago may not be whole yet.
QUIET_SECONDS = 60
TIMEOUT = 30.0

log = logging.getLogger(__name__)


def fetch_imports(context: Context, *, quiet_seconds: float = QUIET_SECONDS) -> None:
    """Look at every source; what is new there becomes an import. A source that fails stands in the log and in nobody's
    way."""
    assert isinstance(context.settings, ProfileSettings)
    for source in context.settings.import_sources:
        try:
            if source.folder is not None:
                _look_into(context, source, Path(source.folder), quiet_seconds)
            else:
                _call(context, source)
        except (OSError, httpx.HTTPError, outbound.Refused, Refusal) as error:
            log.warning("import source %s: %s", source.name, type(error).__name__)


def _look_into(context: Context, source: ImportSource, folder: Path, quiet_seconds: float) -> None:
    """Files that were changed since they were imported, by name; what begins with a dot or ends with .part is not
    finished, and a link may point anywhere."""
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if (
            not entry.is_file(follow_symlinks=False)
            or entry.name.startswith(".")
            or entry.name.endswith(".part")
        ):
            continue
        state = entry.stat(follow_symlinks=False)
        digest = hashlib.sha256(f"{state.st_size}:{state.st_mtime_ns}".encode()).digest()
        with context.sessions.begin() as session:
            now = imports.clock(session).timestamp()
            if now - state.st_mtime < quiet_seconds or _known(session, source, entry.name) == digest:
                continue
        with Path(entry.path).open("rb") as file:
            _take(context, source, entry.name, iter(lambda file=file: file.read(uploads.BLOCK), b""), digest)  # type: ignore[misc]


def _call(context: Context, source: ImportSource) -> None:
    assert source.url is not None
    headers = (
        {} if source.authorization is None else {"Authorization": source.authorization.get_secret_value()}
    )
    allowed = context.settings.outbound_networks
    with (
        outbound.client(timeout=TIMEOUT, allowed=allowed) as client,
        client.stream("GET", source.url, headers=headers) as reply,
    ):
        if reply.status_code != 200:
            raise httpx.HTTPStatusError("not 200", request=reply.request, response=reply)
        _take(context, source, "", reply.iter_bytes(uploads.BLOCK), None)


def _take(
    context: Context, source: ImportSource, name: str, pieces: Iterator[bytes], digest: bytes | None
) -> None:
    """Keep a file as an upload and release its job; without a digest of its own, its content says whether it is new."""
    content = hashlib.sha256()
    with context.sessions.begin() as session:
        job_id = imports.take(session, source.mapping, by=f"source:{source.name}")
    try:
        number = 0
        for piece in pieces:
            content.update(piece)
            with context.sessions.begin() as session:
                uploads.append(session, job_id, number, piece)
            number += 1
        told = digest or content.digest()
        with context.sessions.begin() as session:
            if number == 0 or _known(session, source, name) == told:
                _drop(session, job_id)
                return
            jobs.release(session, job_id)
            row = insert(import_fetch).values(source=source.name, name=name, digest=told, job_id=job_id)
            session.execute(
                row.on_conflict_do_update(
                    index_elements=["source", "name"],
                    set_={"digest": told, "job_id": job_id, "fetched_at": row.excluded.fetched_at},
                )
            )
    except BaseException:
        with context.sessions.begin() as session:
            _drop(session, job_id)
        raise


def _known(session: Session, source: ImportSource, name: str) -> bytes | None:
    wanted = select(import_fetch.c.digest).where(
        import_fetch.c.source == source.name, import_fetch.c.name == name
    )
    found = session.scalar(wanted)
    return None if found is None else bytes(found)


def _drop(session: Session, job_id: UUID) -> None:
    uploads.destroy(session, job_id)
    session.execute(delete(job).where(job.c.id == job_id))
