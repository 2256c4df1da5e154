"""Preview, then approve: a deployment's run shows a few frames, suspends, and goes on when somebody has agreed.

Suspended, it holds no process, no worker and no slot. Approved, the run begins again from its first line and finds the
decode pass and the previews in the store. How a preview is made is `flows.preview`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from prefect.artifacts import create_image_artifact
from prefect.flow_runs import suspend_flow_run
from prefect.input import RunInput
from pydantic import Field

from configs.errors import Rejected
from configs.job import RestyleJob
from configs.names import slug
from flows.artifacts import picture_uri
from flows.budget import can_suspend
from flows.preview import preview_sources
from flows.progress import short_name
from flows.result import ErrorEntry, PreviewSheet
from flows.sources import Source
from flows.tally import Tally
from tasks.run import Progress

if TYPE_CHECKING:
    from tasks.engine.pool import EnginePool
    from tasks.store import Store


class Approval(RunInput):
    """What the person says who resumes the run."""

    approved: Annotated[bool, Field(description="on: run all of it; off: end the run here")] = True
    word: Annotated[str, Field(description="a word for the record, e.g. why not")] = ""


def approved(
    job: RestyleJob,
    sources: Sequence[Source],
    store: Store,
    engines: EnginePool,
    observe: Callable[[Progress], None],
    tally: Tally,
) -> bool:
    """Preview the job and ask; True when all of it may be run now, else `tally` says why not.

    The first time it suspends the run, by Prefect's `Pause`. A run that nobody could resume (no deployment) ends with
    its sheets. When no video could be previewed there is nothing to ask: the run itself will tell what is wrong.
    """
    from flows.video import in_task

    tried = Tally()
    preview_sources(job, sources, store, engines, observe, tried, in_task)
    previews = tally.previews = tried.previews
    if tried.status() == "interrupted":
        tally.errors += tried.errors
        return False
    if not previews:
        return True
    show(previews)
    if not can_suspend():
        return False
    engines.release()  # also where Prefect's way out should not unwind us
    answer = suspend_flow_run(wait_for_input=_question(job, sources, previews), key=_pause_key(previews))
    if answer.approved:
        return True
    said = f": {answer.word.strip()}" if answer.word.strip() else ""
    tally.errors.append(ErrorEntry.of(Rejected(f"the preview was not approved{said}")))
    return False


def show(previews: Sequence[PreviewSheet]) -> None:
    """Post every sheet on the run's page, as a small picture; the file itself is named below it."""
    from tasks.sheet import read_sheet

    for preview in previews:
        picture = picture_uri(read_sheet(Path(preview.sheet)))
        if picture is not None:
            told = f"{preview.frames} frames in {preview.steps} steps, left the source; {preview.sheet}"
            create_image_artifact(picture, key=f"preview-{slug(short_name(preview.source))}", description=told)


def _question(job: RestyleJob, sources: Sequence[Source], previews: Sequence[PreviewSheet]) -> type[Approval]:
    """The form that the UI shows on Resume, with what there is to know above it."""
    lines = [f"{len(sources)} video(s) are to be run in {job.num_inference_steps} steps. Sheets, also under Artifacts:"]
    lines += [f"- `{preview.sheet}`" for preview in previews]
    return Approval.with_initial_data(description="\n".join(lines))


def _pause_key(previews: Sequence[PreviewSheet]) -> str:
    """Another preview is another question; the same one, after a crash or a retry, is answered already."""
    return "preview-" + hashlib.sha256("".join(preview.key for preview in previews).encode()).hexdigest()[:16]
