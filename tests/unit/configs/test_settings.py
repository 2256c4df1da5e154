"""STEADYFRAME_* variables; a bad one is named with its value."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from configs.errors import ConfigError
from configs.settings import Settings, load_settings


def test_variables_are_read_and_empty_ones_are_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"STORE": "memory://", "WORKERS": "0", "DEVICE": "cuda:1", "LOG_LEVEL": "DEBUG"}.items():
        monkeypatch.setenv(f"STEADYFRAME_{name}", value)
    monkeypatch.setenv("STEADYFRAME_RAY_ADDRESS", "")
    settings = load_settings()
    assert (settings.store, settings.workers, settings.device) == ("memory://", 0, "cuda:1")
    assert (settings.log_level, settings.ray_address) == ("debug", None)


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("WORKERS", "-1", r"STEADYFRAME_WORKERS: .*greater than or equal to 0, got '-1'"),
        ("WORKERS", "two", r"STEADYFRAME_WORKERS: .*integer.*got 'two'"),
        ("DEVICE", "tpu", r"STEADYFRAME_DEVICE: must be auto, cpu, cuda or cuda:N, got 'tpu'"),
        ("LOG_LEVEL", "loud", r"STEADYFRAME_LOG_LEVEL: .*got 'loud'"),
    ],
)
def test_a_bad_variable_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str, sentence: str) -> None:
    monkeypatch.setenv(f"STEADYFRAME_{name}", value)
    with pytest.raises(ConfigError, match=sentence):
        load_settings()


def test_every_setting_is_read_by_somebody() -> None:
    """A variable that nobody reads is a promise that nobody keeps."""
    root = Path(__file__).parents[3]
    code = "".join(file.read_text() for layer in ("tasks", "flows") for file in (root / layer).rglob("*.py"))
    assert [name for name in Settings.model_fields if not re.search(rf"(settings|\(\))\.{name}\b", code)] == []
