"""One video as one Prefect flow run, its stages as task runs that say Reused when the store had them.

The work is a pipeline of `tasks`, called in this process and thread; Prefect shows it and decides nothing but
to try a stage again after a passing fault of the storage. What resumes is the store's business, not Prefect's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from prefect import Flow, Task, flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import FlowRunCreate
from prefect.client.schemas.objects import FlowRun, State, TaskRun
from prefect.context import FlowRunContext, SyncClientContext
from prefect.exceptions import TerminationSignal
from prefect.flow_engine import run_flow_sync
from prefect.states import Cancelled, Completed, Failed, Pending, to_state_create

from configs.deflicker_job import DeflickerJob
from configs.errors import BudgetReached, Interrupted, SteadyframeError
from configs.redact import clean, redact
from flows import artifacts
from flows.away import Kept, begun, finished_anyway
from flows.logs import redact_logs
from flows.progress import Watch, short_name
from flows.telemetry import telemetry
from tasks import pipeline
from tasks.failure import classify
from tasks.ref import Ref
from tasks.run import Progress, Run, VideoResult
from tasks.store.blobs import TornArtifact

# of every flow: results are the store's business, parameters are checked already, printing is ours
_PLAIN: dict[str, Any] = {"persist_result": False, "validate_parameters": False, "log_prints": False}
RETRY_DELAYS = [1.0, 5.0, 15.0]


@dataclass(frozen=True)
class Belongs:
    """Which attempt of which library run a video's flow run belongs to, and its number there.

    All three are in the idempotency key: Prefect answers a repeated key with the old, terminal run.
    """

    job_id: str
    attempt: int
    number: int

    @property
    def key(self) -> str:
        """The idempotency key."""
        return f"{self.job_id}/{self.attempt}/{self.number}"


def restyle_one(run: Run, stoppable: bool = False, belongs: Belongs | None = None) -> VideoResult:
    """Restyle the video of `run` in a flow run of its own and return what the pipeline returned.

    Raises what the pipeline raised (`SteadyframeError`, `Interrupted`, or a fault of ours), after the flow
    run shows it. A server that does not answer for minutes costs the video its flow run and nothing else.
    `stoppable`: Ctrl-C or SIGTERM end the flow run as Cancelled and raise `Interrupted`;
    otherwise (under a Prefect worker, which has its own protocol for that) they pass through. With `belongs` it may be
    called from several threads at once, each in a copy of the context of the library's own flow run.
    """
    kept = Kept()

    @flow(name="restyle-video", flow_run_name=title(run), **_PLAIN)
    def restyle_video(source: str, style: str | None, prompt: str | None, steps: int, seed: int) -> State[Any]:
        """Restyle one video."""
        return _watched(run, kept, stoppable, pipeline.restyle_video)

    job = run.job
    given = {
        "source": redact(run.source),
        "style": job.style,
        "prompt": job.prompt,
        "steps": job.num_inference_steps,
        "seed": job.seed,
    }

    def shown() -> None:
        if belongs is None:
            restyle_video(**given, return_state=True)
            return
        with own_client():
            run_flow_sync(restyle_video, create_run(restyle_video, given, belongs), given, return_type="state")

    with finished_anyway(run, kept):
        if not begun(shown, run, kept):
            return telemetry().measured(again_if_removed(pipeline.restyle_video))(run)
    return _outcome(run, kept)


@contextmanager
def own_client() -> Iterator[None]:
    """Talk to the server by a client of this thread's own: one that threads share may be closed under one of them.

    It counts its users without a lock.
    """
    token = SyncClientContext.__var__.set(None)  # type: ignore[arg-type]
    try:
        yield
    finally:
        SyncClientContext.__var__.reset(token)


def create_run(restyle_video: Flow[Any, Any], given: dict[str, Any], belongs: Belongs) -> FlowRun:
    """The flow run of a library's video, below the library's own where there is one.

    Prefect would make it by itself, but counts the sub-runs of a flow in the order in which they begin: with threads
    that order changes from try to try, and a second try would be handed the old run of another video.
    """
    above = FlowRunContext.get()
    with get_client(sync_client=True) as client:
        parent = None
        if above is not None and above.flow_run is not None:
            placeholder = Task(name=restyle_video.name, fn=restyle_video.fn)
            parent = client.create_task_run(placeholder, above.flow_run.id, dynamic_key=belongs.key).id
        asked = FlowRunCreate(
            flow_id=client.create_flow(restyle_video),
            parameters=given,
            tags=["library", belongs.job_id],
            parent_task_run_id=parent,
            idempotency_key=belongs.key,
            state=to_state_create(Pending()),
        )
        answer = client.request("POST", "/flow_runs/", json=asked.model_dump(mode="json", exclude_unset=True))
        return FlowRun.model_validate(answer.json())


def deflicker_one(job: DeflickerJob, run: Run, stoppable: bool = False) -> VideoResult:
    """Steady or fill in the video of `job` in a flow run of its own; raises and stops as `restyle_one` does."""
    from tasks import filter_pipeline

    kept = Kept()

    @flow(name="deflicker-video", flow_run_name=title(run), **_PLAIN)
    def deflicker_video(source: str, guide: str, keyframes: int, window: int) -> State[Any]:
        """Deflicker one video."""
        return _watched(run, kept, stoppable, partial(filter_pipeline.deflicker_video, job))

    told = redact(run.source), redact(job.guide), len(job.keyframes), job.deflicker.window
    with finished_anyway(run, kept):
        deflicker_video(*told, return_state=True)
    return _outcome(run, kept)


def again_if_removed(whole: Callable[..., VideoResult]) -> Callable[..., VideoResult]:
    """`whole`, once more when an artifact it had found was removed before it could be read (`steadyframe clean`)."""

    def twice(run: Run, **how: Any) -> VideoResult:
        try:
            return whole(run, **how)
        except TornArtifact as gone:
            run.observe(Progress(run.source, "probe", message=f"{gone}; looking again", level="warning"))
            return whole(run, **how)

    return twice


def _outcome(run: Run, kept: Kept) -> VideoResult:
    """What the body of a flow left, or the error it left."""
    if kept.error is not None:
        raise kept.error
    if not isinstance(kept.value, VideoResult):
        raise Interrupted(f"{run.source}: the flow run was stopped by the Prefect server before it began")
    return kept.value


def title(run: Run) -> str:
    """Name of the flow run for people: `clip.mp4 · watercolor`."""
    return f"{short_name(run.source)} · {run.job.style or (run.job.prompt or '')[:40]}".replace("{", "(").replace(
        "}", ")"
    )


def _watched(run: Run, kept: Kept, stoppable: bool, whole: Callable[..., VideoResult]) -> State[Any]:
    """Body of the flow: the pipeline with progress, and every end as a state with our own message."""
    logger = get_run_logger()
    redact_logs()
    with Watch(run.source, run.observe) as watch:

        def should_stop() -> bool:
            return run.should_stop() or watch.cancelled()

        def do(stage: str, part: str, work: Callable[[], Ref]) -> Ref:
            watch.part = part
            return in_task(stage, part, work)

        try:
            kept.value = telemetry().measured(again_if_removed(whole))(
                replace(run, observe=watch, should_stop=should_stop), do=do
            )
            watch.finish()
        except (Interrupted, KeyboardInterrupt, TerminationSignal) as error:
            if not isinstance(error, Interrupted) and not stoppable:
                raise
            if isinstance(error, BudgetReached):
                kept.error = error
                # not Cancelled: a sub-run that was, stays so when its parent is resumed, and would stop itself at once
                return Failed(name="Over budget", message=str(error))
            kept.error = Interrupted(f"{run.source}: stopped; committed work stays, the same command resumes")
            return Cancelled(name="Interrupted", message=str(kept.error))
        except SteadyframeError as error:
            kept.error = error
            return Failed(message=f"{type(error).__name__}: {error}")
        except Exception as error:  # a fault of ours: keep the trace in the run, go on with other videos
            kept.error = error
            logger.exception("unexpected error")
            return Failed(message=f"{type(error).__name__}: {redact(str(error))}")
    try:
        artifacts.publish(kept.value)
    except Exception as error:
        # A page without its picture must not turn hours of finished work into a failure.
        logger.warning("artifacts could not be shown: %s", error)
    reused = all(stage.status == "reused" for stage in kept.value.stages)
    return Completed(name="Reused") if reused else Completed()


def in_task(stage: str, part: str, work: Callable[[], Ref]) -> Ref:
    """Run one stage as a task run in this thread; `tasks.pipeline.Do`.

    The work is a closure, not a parameter: Prefect walks through parameters and would try to copy them.
    """
    kept = Kept()
    name = f"{stage} ({part})" if part else stage

    def passing(failed_task: Any, task_run: TaskRun, state: State[Any]) -> bool:
        return kept.error is not None and is_passing(kept.error)

    @task(
        name=stage,
        task_run_name=name.replace("{", "(").replace("}", ")"),
        cache_policy=NO_CACHE,
        persist_result=False,
        retries=len(RETRY_DELAYS),
        retry_delay_seconds=RETRY_DELAYS,
        retry_jitter_factor=0.5,
        retry_condition_fn=passing,
    )
    def run_stage() -> State[Any]:
        kept.value, kept.error = None, None
        try:
            ref = work()
        except BaseException as error:
            kept.error = error
            if (told := clean(error)) is error:
                raise  # with its cause, by which it is classified
            raise told from None  # Prefect stores the message
        kept.value = ref
        get_run_logger().info("%s: %s, %.2f s, %s bytes, key %s", name, ref.status, ref.seconds, ref.bytes, ref.key[:8])
        return Completed(name="Reused") if ref.status == "reused" else Completed()

    run_stage(return_state=True)
    if kept.error is not None:
        raise kept.error
    if not isinstance(kept.value, Ref):
        raise Interrupted(f"stage {name} was stopped by the Prefect server before it began")
    return kept.value


def is_passing(error: BaseException) -> bool:
    """Whether doing the same again soon may work (`tasks.failure`)."""
    return classify(error) == "transient"
