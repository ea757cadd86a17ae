"""What a process is told by its environment, read once at its start."""

import base64
import binascii
import json
import os
from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, Any, Self
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError


class SettingsError(Exception):
    """The environment is unusable; the message names every variable at fault."""


def _zone(name: str) -> str:
    if name not in available_timezones():
        raise ValueError(f"{name!r} is not an IANA time zone")
    return name


def _json(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


def _listed(value: Any) -> Any:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _sealing_keys(value: Any) -> Any:
    """``id:base64,id:base64`` – the first one wraps new data keys, the others still unwrap old ones."""
    if not isinstance(value, str):
        return value
    keys = {}
    for pair in filter(None, value.split(",")):
        name, _, encoded = pair.partition(":")
        try:
            keys[name] = base64.b64decode(encoded, validate=True)
        except binascii.Error as error:
            raise ValueError(f"key {name!r} is not base64") from error
        if len(keys[name]) != 32:
            raise ValueError(f"key {name!r} has {len(keys[name])} bytes instead of 32")
    return keys


class Settings(BaseModel):
    """The environment of one service. A variable is ``REGULARS_`` and the field's name in capitals;
    ``REGULARS_PROFILE_DATABASE_URL`` (with the service's name) wins over ``REGULARS_DATABASE_URL``."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    service: str
    database_url: str
    bus: str = Field(default="", description="kafka://host:port[,host:port] or postgresql://…")
    public_url: str = "http://127.0.0.1:8080"
    host: str = "127.0.0.1"
    port: int = 8080
    metrics_port: int = 0
    threads: int = Field(default=8, ge=1, description="requests worked on at once by one process")
    pool_size: int = Field(default=8, ge=1)
    currency: Annotated[str | None, Field(pattern=r"^[A-Z]{3}$")] = None
    time_zone: Annotated[str, AfterValidator(_zone)] = "UTC"
    run_schedule: bool = Field(
        default=True,
        description="false where something else starts scheduled work: the CronJobs of a cluster",
    )
    rate_limit: int = Field(
        default=0, ge=0, description="requests a second for each credential, over all replicas; 0 = no limit"
    )
    historical_after_days: int = Field(default=3, ge=0, description="facts older than this start nothing")
    cors_origins: Annotated[tuple[str, ...], BeforeValidator(_json)] = ()

    key_pepper: str = Field(min_length=16, description="keys the HMACs of API keys")
    environment_keys: Annotated[Mapping[str, str], BeforeValidator(_json)] = Field(
        default={},
        description='{"admin": "<HMAC>", "campaigns": "<HMAC>"}: keys that no database has to know',
    )
    service_key: str = Field(default="", description="this service's own key for calls to the others")
    profile_url: str = "http://127.0.0.1:8080"
    scoring_url: str = "http://127.0.0.1:8080"
    campaigns_url: str = "http://127.0.0.1:8080"
    feedback_url: str = "http://127.0.0.1:8080"
    jwt_issuer: str | None = None
    jwt_audience: str | None = None
    jwks_url: str | None = None

    outbound_networks: Annotated[tuple[IPv4Network | IPv6Network, ...], BeforeValidator(_listed)] = Field(
        default=(),
        description="inner networks that webhooks and fetched files may reach all the same: 10.1.0.0/16,fd00::/8",
    )

    sealing_keys: Annotated[Mapping[str, bytes], BeforeValidator(_sealing_keys)]
    audit_key: str = Field(
        min_length=16,
        description="keys the chain of the audit log, the same in all services; to replace it, put the new one in front"
        " (`new,old`) and leave the old one there for as long as its entries are to be verified",
    )
    audit_anchors: str = Field(
        default="",
        description="a file to whose end every new head of the audit log is written, beside the log",
    )

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.time_zone)

    @property
    def audit_secrets(self) -> tuple[bytes, ...]:
        """The keys of the audit log, the current one first."""
        return tuple(key.strip().encode() for key in self.audit_key.split(",") if key.strip())

    @classmethod
    def from_environment(cls, service: str, environment: Mapping[str, str] | None = None) -> Self:
        """Raises SettingsError naming every variable that is missing or wrong."""
        environment = os.environ if environment is None else environment
        own = f"REGULARS_{service.upper()}_"
        values: dict[str, Any] = {"service": service}
        for field in cls.model_fields:
            for variable in (own + field.upper(), "REGULARS_" + field.upper()):
                if environment.get(variable):
                    values[field] = environment[variable]
                    break
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            faults = "; ".join(
                f"REGULARS_{str(fault['loc'][0]).upper()}: {fault['msg']}" for fault in error.errors()
            )
            raise SettingsError(f"{service} cannot start: {faults}") from None

    def is_kafka(self) -> bool:
        return urlsplit(self.bus).scheme == "kafka"
