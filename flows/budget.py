"""A budget in a run of a Prefect deployment: the run suspends itself before it passes the limit, and is asked for more.

Who counts is `tasks.purse`; a command line simply ends, interrupted, and the same command goes on. A resumed run may
spend as much again, or what the person who resumes it says.
"""

from __future__ import annotations

from typing import Annotated, TypeVar

from prefect.flow_runs import suspend_flow_run
from prefect.input import RunInput
from prefect.input.run_input import keyset_from_base_key
from pydantic import Field

from configs.budget import BudgetConfig
from configs.deflicker_job import DeflickerJob
from configs.job import RestyleJob
from flows.result import JobResult

J = TypeVar("J", RestyleJob, DeflickerJob)


class MoreBudget(RunInput):
    """What the resumed run may spend; 0 means as much again."""

    gpu_seconds: Annotated[float, Field(ge=0, description="device-seconds; 0 = as much again")] = 0.0
    bytes: Annotated[int, Field(ge=0, description="bytes written to the store; 0 = as much again")] = 0


def renewed(job: J) -> J:
    """The job with the budget of this attempt: its own, or what was said when the run was last resumed."""
    if not isinstance(job, RestyleJob) or not job.budget.limited:
        return job
    return job.model_copy(update={"budget": budget_of_attempt(job.budget)})


def budget_of_attempt(asked: BudgetConfig) -> BudgetConfig:
    """The budget of the flow run of this context, by the newest answer that was given to it."""
    answer = next(reversed(_answers()), None)
    if answer is None:
        return asked
    more = {"gpu_seconds": answer.gpu_seconds or asked.gpu_seconds, "bytes": answer.bytes or asked.bytes}
    return BudgetConfig.model_validate(more)


def suspend_over_budget(result: JobResult) -> None:
    """Suspend the deployment's run that a budget stopped; returns where there is nothing to suspend.

    Call it when engines and slots are given back. Raises Prefect's `Pause`, which ends the process.
    """
    stopped = [error.message for error in result.errors if error.class_name == "BudgetReached"]
    if stopped and can_suspend():
        asking = MoreBudget.with_initial_data(description=stopped[0])
        suspend_flow_run(wait_for_input=asking, key=_pause_key(len(_answers())))


def can_suspend() -> bool:
    """Whether somebody would start this flow run again: only runs of a deployment have that."""
    from prefect.runtime import deployment

    return deployment.id is not None


def _pause_key(answers: int) -> str:
    """One key per question: a key that was answered is never asked again. Prefect's own count of a run's attempts is
    that of before it began, so it cannot tell them apart.
    """
    return f"budget-{answers + 1}"


def _answers() -> list[MoreBudget]:
    """What was said each time the flow run of this context was resumed, oldest first."""
    from prefect.input.actions import read_flow_run_input
    from prefect.runtime import flow_run

    said: list[MoreBudget] = []
    while flow_run.id:
        keys = keyset_from_base_key(f"suspended-{_pause_key(len(said))}")
        found = read_flow_run_input(keys["response"])
        if not isinstance(found, dict):
            break
        said.append(MoreBudget.model_validate(found))
    return said
