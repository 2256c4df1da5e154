"""Settings of this machine and user, from STEADYFRAME_*: where things are kept, not what is computed.

Nothing in here may change a bit of a result, so nothing in here is part of a key.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

from platformdirs import user_data_dir, user_state_dir
from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from configs.errors import ConfigError
from configs.presets import nearest

PREFIX = "STEADYFRAME_"


class Settings(BaseSettings):
    """The environment's part of a run; command-line flags go before it.

    `workers` None means one per GPU, else one per core; 0 computes in this process.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore", env_ignore_empty=True)

    store: str = Field(
        default_factory=lambda: str(Path(user_data_dir("steadyframe", appauthor=False)) / "store"),
        description="fsspec URL or folder of the artifact store",
    )
    workers: int | None = Field(None, ge=0, le=1024, description="0 = in this process")
    device: str = Field("auto", description="auto, cpu, cuda or cuda:N")
    ray_address: str | None = Field(None, description="address of a running Ray cluster; empty starts one")
    workers_per_gang: int | None = Field(None, ge=1, description="workers that serve one shot together; empty = all")
    actor_ttl: float = Field(900.0, ge=0, description="seconds that idle workers stay on a cluster we did not start")
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    server_dir: Path = Field(
        default_factory=lambda: Path(user_state_dir("steadyframe", appauthor=False)) / "server",
        description="database, port and log of the local Prefect server",
    )
    notify: SecretStr | None = Field(
        None,
        description="who is told when a job has ended: a saved Prefect notification block, as TYPE/NAME, or a webhook "
        "or apprise address; it may hold a token, so it is kept here or in the block and written nowhere",
    )
    notify_on: Literal["always", "failure"] = Field("always", description="failure: not when everything worked")
    metrics_port: int = Field(0, ge=0, le=65535, description="serves Prometheus metrics while a job runs; 0 = off")
    metrics_host: str = Field("127.0.0.1", description="address of the metrics port; 0.0.0.0 lets other machines ask")
    metrics_file: Path | None = Field(
        None, description="metrics are added to this .prom file as jobs run (node_exporter's textfile folder)"
    )
    roots: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="folders and URLs, by commas, that runs of deployments may read and write; empty = any"
    )
    out_dir: Path | None = Field(
        None,
        description="where a relative `out` of a deployed run lies; empty = its working folder, which the process "
        "worker of a work pool deletes after the run",
    )
    gang_limit: str = Field(
        "", description="global concurrency limit of the Prefect server that a deployed job holds; empty = none"
    )

    @field_validator("roots", mode="before")
    @classmethod
    def _by_commas(cls, value: object) -> object:
        parts = value.split(",") if isinstance(value, str) else value
        return tuple(str(part).strip() for part in parts if str(part).strip()) if isinstance(parts, Iterable) else parts

    @field_validator("log_level", mode="before")
    @classmethod
    def _lower(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value

    @field_validator("device")
    @classmethod
    def _device(cls, value: str) -> str:
        return check_device(value)


def check_device(value: str) -> str:
    """Return the device name, or raise ValueError with what is allowed (whether it exists is asked later)."""
    name, _, index = value.partition(":")
    if name not in {"auto", "cpu", "cuda"} or (index and (name != "cuda" or not index.isdigit())):
        raise ValueError(f"must be auto, cpu, cuda or cuda:N, got {value!r}{nearest(value, ('auto', 'cpu', 'cuda'))}")
    return value


def load_settings() -> Settings:
    """Read the environment. Errors: ConfigError that names the variable, its value and what is allowed."""
    try:
        return Settings()
    except ValidationError as error:
        lines = []
        for item in error.errors():
            name = PREFIX + "_".join(str(part) for part in item["loc"]).upper()
            said = str(item.get("ctx", {}).get("error", item["msg"]))
            lines.append(f"{name}: {said}" if "got" in said else f"{name}: {said}, got {item['input']!r}")
        raise ConfigError("\n".join(lines)) from None
