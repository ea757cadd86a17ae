"""/v1/sealing-keys: which keys of the environment wrap data keys, and how to replace one."""

from typing import Any
from uuid import UUID

from fastapi import Response
from pydantic import BaseModel, Field
from starlette.requests import Request

from shared.http.dependencies import Caller_, Transaction
from shared.http.idempotency import Once
from shared.http.routing import Router
from shared.key_rotation import job

router = Router(prefix="/v1/sealing-keys", tags=["sealing keys"])


class SealingKeysOut(BaseModel):
    """Ids of keys, never the keys."""

    current: str = Field(description="wraps new data keys", examples=["k2"])
    wrapped: dict[str, int] = Field(
        description="data keys that each key wraps; one that stands here is still needed",
        examples=[{"k1": 120, "k2": 3}],
    )


class RotationOut(BaseModel):
    id: UUID = Field(description="of the job, which is at the Location")


@router.get("", scopes=["keys:read"])
def get_sealing_keys(session: Transaction) -> SealingKeysOut:
    """Which keys of the environment are in use."""
    return SealingKeysOut(current=job.current(session), wrapped=job.wrapped_by(session))


@router.post("/rotation", scopes=["keys:write"], status_code=202, response_model=RotationOut)
def rotate_sealing_keys(
    request: Request, session: Transaction, caller: Caller_, once: Once, response: Response
) -> Any:
    """Wrap every data key with the current key.

    A job with progress, cancel and resume. When it has succeeded, older keys may leave the environment.
    """

    def begin() -> RotationOut:
        job_id = job.start(session, caller.name)
        service = request.app.state.settings.service
        response.headers["Location"] = f"/{service}/v1/jobs/{job_id}"
        return RotationOut(id=job_id)

    return once(RotationOut, begin)
