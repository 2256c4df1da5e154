"""Commands that keep a store in order: `clean` frees its space, `verify` reads it again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from flows.commands.options import json_option, store_option, store_url
from flows.commands.outcome import Outcome, drawn, size
from flows.commands.quantities import AGE, BYTES

if TYPE_CHECKING:
    from flows.maintenance import Cleaned, Verified
    from flows.result import ErrorEntry
    from tasks.store.audit import Torn
    from tasks.store.retention import Item

_STAGE = click.option("--stage", "stages", metavar="NAME", multiple=True, help="Only this stage; may repeat.")


@click.command()
@store_option
@click.option("--older-than", metavar="AGE", type=AGE, help="Finished work not used for so long goes: 30d, 12h.")
@click.option("--max-bytes", metavar="SIZE", type=BYTES, help="Then the longest unused, until the store fits: 200GB.")
@click.option(
    "--keep-last",
    metavar="N",
    type=click.IntRange(0),
    default=1,
    show_default=True,
    help="Newest results per source that stay, with all they were made from.",
)
@click.option("--keep-outputs", is_flag=True, help="Also keep what results were made from whose file is still there.")
@_STAGE
@click.option("--keep-stage", "keep_stages", metavar="NAME", multiple=True, help="Never this stage; may repeat.")
@click.option("--unfinished", metavar="AGE", type=AGE, default="7d", show_default=True, help="Age of abandoned work.")
@click.option("--jobs", metavar="AGE", type=AGE, default="90d", show_default=True, help="Age of records of jobs.")
@click.option("--dead", metavar="AGE", type=AGE, default="180d", show_default=True, help="Age of dead letters.")
@click.option("--grace", metavar="AGE", type=AGE, default="1h", show_default=True, help="Nothing younger is touched.")
@click.option("--yes", is_flag=True, help="Do it. Without it nothing is removed.")
@json_option
def clean(
    store: str | None,
    older_than: float | None,
    max_bytes: int | None,
    keep_last: int,
    keep_outputs: bool,
    stages: tuple[str, ...],
    keep_stages: tuple[str, ...],
    unfinished: float,
    jobs: float,
    dead: float,
    grace: float,
    yes: bool,
) -> Outcome:
    """Say what of the store could go, and with --yes remove it.

    Rubbish always goes: steps of finished work, what killed runs left, old records. Finished work goes by
    --older-than (since a job last used it) and --max-bytes. Nothing that a running job uses is touched, and
    whatever goes is computed again, to the same bits, when it is needed.
    """
    from configs.settings import load_settings
    from flows.commands.bars import observer
    from flows.maintenance import Keeping
    from flows.maintenance import clean as cleaned
    from flows.result import ErrorEntry, JobResult
    from tasks.store import Store
    from tasks.store.retention import Policy

    opened = Store.attach(store_url(store))
    _known(opened.blobs.children("stages")[1], (*stages, *keep_stages))
    policy = Policy(
        older_than, max_bytes, frozenset(stages), frozenset(keep_stages), grace=grace, unfinished=unfinished
    )
    with observer(load_settings().log_level) as observe:
        found = cleaned(opened, policy, Keeping(keep_last, keep_outputs, jobs, dead), dry=not yes, observe=observe)
    errors: list[ErrorEntry] = []
    if found.removed is not None:
        errors = [ErrorEntry.of(error, f"{item.stage} {item.key}") for item, error in found.removed.errors]
    result = JobResult(method="clean", status="partial" if errors else "completed", errors=errors)
    return Outcome(result, _clean_payload(opened.url, found), _clean_text(opened.url, found, older_than, max_bytes))


def _known(there: Iterable[str], asked: Iterable[str]) -> None:
    """Refuse a stage that the store does not have. Errors: ConfigError."""
    from configs.errors import ConfigError
    from configs.presets import nearest

    names = sorted({*there, "correspond", "steps"})
    for stage in asked:
        if stage not in names:
            raise ConfigError(
                f"--stage {stage}: no such stage in this store{nearest(stage, names)}; {', '.join(names)}"
            )


def _clean_payload(url: str, found: Cleaned) -> dict[str, Any]:
    removed = found.removed
    went = found.plan.items if removed is None else removed.items
    return {
        "store": url,
        "dry_run": removed is None,
        "bytes": found.plan.bytes + found.temporary if removed is None else removed.bytes,
        "store_bytes": found.plan.total,
        "items": len(went),
        "by_stage": _by_stage(went),
        "in_use": found.plan.in_use,
        "skipped": len(removed.skipped) if removed else 0,
        "over_limit": found.plan.short,
    }


def _by_stage(items: Iterable[Item]) -> dict[str, dict[str, Any]]:
    counts: dict[str, dict[str, Any]] = defaultdict(lambda: {"items": 0, "bytes": 0, "why": {}})
    for item in items:
        row = counts[item.stage]
        row["items"] += 1
        row["bytes"] += item.bytes
        row["why"][item.why] = row["why"].get(item.why, 0) + 1
    return dict(sorted(counts.items(), key=lambda pair: -pair[1]["bytes"]))


def _clean_text(url: str, found: Cleaned, older_than: float | None, max_bytes: int | None) -> str:
    payload = _clean_payload(url, found)
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("stage", "items", "bytes", "why"):
        table.add_column(column, justify="right" if column in ("items", "bytes") else "left")
    for stage, row in payload["by_stage"].items():
        why = ", ".join(f"{text}" if len(row["why"]) == 1 else f"{n} × {text}" for text, n in row["why"].items())
        table.add_row(stage, str(row["items"]), size(row["bytes"]), escape(why))
    lines = []
    if found.removed is None:
        lines.append(f"would free {size(payload['bytes'])} of {size(found.plan.total)} in {url}")
    else:
        lines.append(f"freed {size(payload['bytes'])} of {size(found.plan.total)} in {url}")
    if found.plan.in_use:
        lines.append(f"{found.plan.in_use} artifacts stay because running jobs use them")
    if payload["skipped"]:
        lines.append(f"{payload['skipped']} items were taken up by a job meanwhile and stayed")
    if found.plan.short:
        lines.append(f"still {size(found.plan.short)} over --max-bytes: the rest is kept, in use or too young")
    if older_than is None and max_bytes is None:
        lines.append("finished work stays; give --older-than or --max-bytes to let some of it go")
    if found.removed is None and found.plan.items:
        lines.append("nothing was removed; the same command with --yes does it")
    parts = [table] if payload["by_stage"] else []
    return drawn(*parts, *(Text(line) for line in lines))


@click.command()
@store_option
@_STAGE
@click.option("--newer-than", metavar="AGE", type=AGE, help="Only what was written since: 2d.")
@click.option("--older-than", metavar="AGE", type=AGE, help="Only what was written before: 30d.")
@click.option(
    "--nth",
    metavar="N",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="An N-th of it, another each day: N nightly runs read all.",
)
@click.option("--repair", is_flag=True, help="Forget what is torn; put changed outputs back, the file kept aside.")
@json_option
def verify(
    store: str | None,
    stages: tuple[str, ...],
    newer_than: float | None,
    older_than: float | None,
    nth: int,
    repair: bool,
) -> Outcome:
    """Read artifacts, step commits and outputs again and check their digests.

    A torn artifact is no harm: it counts as absent and is computed again when it is needed. Exit code 3 when
    something is torn.
    """
    from configs.settings import load_settings
    from flows.commands.bars import observer
    from flows.maintenance import verify as verified
    from flows.result import ErrorEntry, JobResult
    from tasks.store import Store, TornArtifact
    from tasks.store.audit import Which

    opened = Store.attach(store_url(store))
    if stages:
        _known(opened.blobs.children("stages")[1], stages)
    which = Which(frozenset(stages), newer_than, older_than, nth)
    with observer(load_settings().log_level) as observe:
        found = verified(opened, which, repair=repair, observe=observe)
    errors = [_torn(torn, repair and torn not in found.busy) for torn in found.torn]
    outcome = "it was put back from the store" if repair else "--repair puts it back from the store"
    errors += [
        ErrorEntry.of(TornArtifact(f"{uri} is not what was written; {outcome}"), source=uri) for uri in found.changed
    ]
    result = JobResult(method="verify", status="completed" if found.whole else "partial", errors=errors)
    return Outcome(result, _verify_payload(opened.url, found), _verify_text(opened.url, found))


def _torn(torn: Torn, forgotten: bool) -> ErrorEntry:
    from flows.result import ErrorEntry
    from tasks.store import TornArtifact

    after = "it was forgotten" if forgotten else "it counts as absent"
    text = f"{torn.name} is damaged ({torn.why}); {after} and will be computed again when it is needed"
    return ErrorEntry.of(TornArtifact(text), torn.name)


def _verify_payload(url: str, found: Verified) -> dict[str, Any]:
    return {
        "store": url,
        "artifacts": found.artifacts,
        "commits": found.commits,
        "packs": found.packs,
        "checked_outputs": found.outputs,
        "bytes": found.bytes,
        "damaged": [torn.name for torn in found.torn],
        "changed_outputs": found.changed,
        "repaired": found.repaired,
        "in_use": [torn.name for torn in found.busy],
    }


def _verify_text(url: str, found: Verified) -> str:
    counts = f"{found.artifacts} artifacts, {found.commits} step commits, {found.packs} packs of matches"
    bad = len(found.torn) + len(found.changed)
    text = f"{counts} and {found.outputs} outputs, {size(found.bytes)} in {url}: "
    text += f"{bad} damaged" if bad else "all whole"
    if found.repaired:
        text += f", {found.repaired} repaired"
    if found.busy:
        text += f", {len(found.busy)} left to the running job that holds them"
    return text
