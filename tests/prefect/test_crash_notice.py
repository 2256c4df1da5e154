"""Who is told of a run: by a saved block when it ends, by the server's automation when its process was killed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from prefect import flow
from prefect.automations import Automation
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.client.orchestration import get_client
from prefect.events.worker import EventsWorker
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Crashed, Running

from configs.errors import ConfigError, UnreadableVideo
from flows.crash_notice import NAME, ensure_crash_automation
from flows.notify import announce
from flows.result import ErrorEntry, JobResult
from tests.listener import Listener, listening

BLOCK = "custom-webhook/nightly"


@pytest.fixture
def listener(api: str) -> Iterator[Listener]:
    """A webhook that a block saved on the session's server speaks to."""
    with listening() as kept, temporary_settings({PREFECT_API_URL: api}):
        told = {"subject": "{{subject}}", "body": "{{body}}", "token": "{{token}}"}
        block = CustomWebhookNotificationBlock(
            name="nightly", url=kept.url, json_data=told, secrets={"token": "planted-token-1234"}
        )
        block.save("nightly", overwrite=True)
        yield kept


def test_a_job_tells_through_a_saved_block(listener: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEADYFRAME_NOTIFY", BLOCK)
    error = ErrorEntry.of(UnreadableVideo("a.mp4: not a video"), "a.mp4")
    assert announce(JobResult(job="j1", method="restyle", status="failed", errors=[error]))
    (told,) = listener.told
    assert told["subject"] == "Steadyframe restyle failed: 0 done, 1 dead"
    assert "poison: a.mp4: UnreadableVideo" in told["body"]
    assert told["token"] == "planted-token-1234"


def test_a_block_that_is_not_there_is_a_warning(
    listener: Listener, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("STEADYFRAME_NOTIFY", "custom-webhook/weekly")
    assert not announce(JobResult(job="j1", method="restyle", status="completed"))
    assert "no block of the name in STEADYFRAME_NOTIFY" in caplog.text
    with pytest.raises(ConfigError, match="weekly"):
        ensure_crash_automation("custom-webhook/weekly")


def test_the_server_tells_of_a_run_that_died_and_only_of_ours(
    listener: Listener, eventually: Callable[..., Any]
) -> None:
    first = ensure_crash_automation(BLOCK)
    assert ensure_crash_automation(BLOCK) == first, "there is one of it"
    assert Automation.read(name=NAME).enabled
    try:
        with get_client(sync_client=True) as client:
            for name in ("somebody-elses", "restyle-video"):
                made = client.create_flow_run(flow(lambda: None, name=name), name=f"clip of {name}")
                for state in (Running(), Crashed(message="its process was killed")):
                    client.set_flow_run_state(made.id, state, force=True)
        told = eventually(lambda: [told for told in listener.told if "clip of" in told["subject"]], 60.0)
        assert [row["subject"] for row in told] == ["Steadyframe run clip of restyle-video: Crashed"]
        assert "its process was killed" in told[0]["body"]
    finally:
        EventsWorker.drain_all()
        with get_client(sync_client=True) as client:
            client.delete_automation(first)
