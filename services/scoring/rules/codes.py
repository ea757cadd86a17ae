"""Stages and trends, as they are told; in arrays each is its position here."""

from typing import Literal

Stage = Literal["prospect", "acquired", "growing", "mature", "declining", "dormant", "lost", "won_back"]
STAGES: tuple[Stage, ...] = (
    "prospect", "acquired", "growing", "mature", "declining", "dormant", "lost", "won_back",
)  # fmt: skip

Trend = Literal["declining", "steady", "rising"]
TRENDS: tuple[Trend, ...] = ("declining", "steady", "rising")
