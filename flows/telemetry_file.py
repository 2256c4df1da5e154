"""Figures of short-lived processes in one text file for node_exporter: what their runs count adds up over the nights.

Counters and histograms in the file grow by what this process counted since it last wrote; a gauge is what the last
writer said. Several processes may write one file: they take turns by a lock beside it. Knows no figure by name.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from configs.errors import StoreError
from tasks.publish import write_whole

LOCK_SECONDS = 10.0
_GROWING = ("counter", "histogram")

Name = tuple[str, tuple[tuple[str, str], ...]]  # of a sample: its name and its labels

log = logging.getLogger("steadyframe")


class Ledger:
    """What a registry counts, added to a file."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._told: dict[Name, float] = {}

    def write(self, path: Path) -> bool:
        """Bring the file up to date; False, and a warning, where it cannot be written."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(path.with_name(f".{path.name}.lock"), timeout=LOCK_SECONDS):
                merged = list(self._merged(_read(path)))
                write_whole(path, generate_latest(_Given(merged)))
        except (OSError, Timeout, StoreError) as error:
            log.warning("metrics are not written to %s: %s; see STEADYFRAME_METRICS_FILE", path, error)
            return False
        return True

    def _merged(self, before: dict[str, Metric]) -> Iterator[Metric]:
        for mine in self._registry.collect():
            old = {_name(s.name, s.labels): s for s in before.pop(mine.name, mine_of(mine)).samples}
            out = mine_of(mine)
            for sample in mine.samples:
                name = _name(sample.name, sample.labels)
                was = old.pop(name, None)
                value = sample.value
                if mine.type in _GROWING:
                    value += (was.value if was else 0.0) - self._told.get(name, 0.0)
                    self._told[name] = sample.value
                out.add_sample(sample.name, sample.labels, value)
            for sample in old.values():
                out.add_sample(sample.name, sample.labels, sample.value)
            yield out
        yield from before.values()


class _Given(Collector):
    """Metrics that are what they are, for `generate_latest`."""

    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> list[Metric]:
        return self._metrics


def mine_of(metric: Metric) -> Metric:
    """The same metric without samples."""
    return Metric(metric.name, metric.documentation, metric.type)


def _read(path: Path) -> dict[str, Metric]:
    """The families of the file; none where it is not there or cannot be understood (then it begins anew)."""
    try:
        return {metric.name: metric for metric in text_string_to_metric_families(path.read_text())}
    except FileNotFoundError:
        return {}
    except ValueError as error:
        log.warning("metrics in %s cannot be read and begin anew: %s", path, error)
        return {}


def _name(name: str, labels: dict[str, str]) -> Name:
    return name, tuple(sorted(labels.items()))
