"""What feedback's routes ask for beside what every service's do."""

from typing import Annotated, cast

from fastapi import Depends

from services.feedback.settings import FeedbackSettings
from shared.http.dependencies import RequestSettings


async def own_settings(settings: RequestSettings) -> FeedbackSettings:
    return cast("FeedbackSettings", settings)


OwnSettings = Annotated[FeedbackSettings, Depends(own_settings)]
