"""What a real server does by itself: pool and limit as provisioned, zombies, the failure webhook, the summary."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from uuid import UUID

import pytest
from prefect import flow
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.events import emit_event
from prefect.events.worker import EventsWorker
from prefect.states import Completed, Failed, Running, State, Suspended

from configs.errors import ConfigError
from flows.deployed import gang_slot
from infra.automations import HEARTBEAT, block_id, failures, put, successes, zombies
from infra.provision import GANG_LIMIT, POOL, QUEUES, provision


@pytest.fixture
def client(api: str) -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as opened:
        yield opened


@pytest.fixture
def heard() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A chat of our own: its address, and what was posted to it."""
    posts: list[dict[str, Any]] = []

    class Chat(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posts.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Chat)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/hook", posts
    server.shutdown()


def begun(client: SyncPrefectClient, name: str, flow_name: str = "restyle") -> UUID:
    """A run of a flow of this name that nobody works on, in state Running."""

    @flow(name=flow_name)
    def idle() -> None:
        """Nothing."""

    made = client.create_flow_run(idle, name=name, state=Running())
    return made.id


def end(client: SyncPrefectClient, run: UUID, state: State[Any]) -> None:
    client.set_flow_run_state(run, state, force=True)


def beat(run: UUID) -> None:
    """The sign of life that Prefect's engine sends."""
    emit_event(HEARTBEAT, resource={"prefect.resource.id": f"prefect.flow-run.{run}"})


def test_provisioning_twice_is_provisioning_once(client: SyncPrefectClient) -> None:
    for gangs in (1, 2):
        provision(client, gangs)
    queues = {queue.name: queue.priority for queue in client.read_work_queues(work_pool_name=POOL)}
    assert {name: queues[name] for name in QUEUES} == dict(QUEUES)
    assert queues["people"] < queues["nightly"]
    assert client.read_work_pool(POOL).type == "process"
    assert client.read_global_concurrency_limit_by_name(GANG_LIMIT).limit == 2


def test_a_job_holds_a_slot_and_gives_it_back(client: SyncPrefectClient, eventually: Callable[..., Any]) -> None:
    provision(client, 1)

    def active() -> int:
        return int(client.read_global_concurrency_limit_by_name(GANG_LIMIT).active_slots)

    with gang_slot(GANG_LIMIT):
        assert active() == 1
    assert eventually(lambda: active() == 0)


def test_a_limit_that_does_not_exist_is_an_error_and_not_no_limit(api: str) -> None:
    with (
        pytest.raises(ConfigError, match=r"STEADYFRAME_GANG_LIMIT.*'nobody-made-me'.*infra.provision"),
        gang_slot("nobody-made-me"),
    ):
        pass


def test_only_a_run_that_died_without_a_word_is_a_zombie(
    client: SyncPrefectClient, eventually: Callable[..., Any]
) -> None:
    automation = put(client, zombies(heartbeat=3.4, heartbeats=3))  # Prefect's least is 10 s
    try:
        done, plain, waiting, dead = (begun(client, name) for name in ("done", "plain", "waiting", "dead"))
        for run in (done, plain, waiting, dead):  # the dead last: when it is found, the others' time is up
            beat(run)
        EventsWorker.drain_all(timeout=10)
        beats = {"filter": {"event": {"name": [HEARTBEAT]}}}
        # an end that overtakes the heartbeat on its way would leave the run watched
        assert eventually(lambda: client._client.post("/events/filter", json=beats).json()["total"] >= 4, 30)
        end(client, done, Completed(name="Completed, 1 failed"))
        end(client, plain, Completed())
        end(client, waiting, Suspended())
        assert eventually(lambda: client.read_flow_run(dead).state_name == "Zombie", 60)
        assert client.read_flow_run(dead).state_type.value == "CRASHED"
        assert client.read_flow_run(waiting).state_name == "Suspended"
        fired = {
            "event": {"name": ["prefect.automation.triggered"]},
            "resource": {"id": [f"prefect.automation.{automation}"]},
        }

        def times() -> int:
            return int(client._client.post("/events/filter", json={"filter": fired}).json()["total"])

        # what an automation did is written down some time after it did it
        assert eventually(lambda: times() >= 1, 30)
        assert times() == 1, "it fired for a run that had ended"
    finally:
        client.delete_automation(automation)


def test_automations_of_one_name_are_replaced(client: SyncPrefectClient) -> None:
    put(client, zombies())
    kept = put(client, zombies(60))
    assert [found.id for found in client.read_automations_by_name(zombies().name)] == [kept]
    client.delete_automation(kept)


def test_failures_call_the_webhook_and_successes_send_a_summary(
    client: SyncPrefectClient, heard: tuple[str, list[dict[str, Any]]], eventually: Callable[..., Any]
) -> None:
    url, posts = heard
    Webhook(url=url).save("ops", overwrite=True)
    CustomWebhookNotificationBlock(name="ops", url=url, json_data={"subject": "{{subject}}", "body": "{{body}}"}).save(
        "ops", overwrite=True
    )
    made = [
        put(client, failures(block_id(client, "webhook/ops"))),
        put(client, successes(block_id(client, "custom-webhook/ops"))),
    ]
    try:
        assert eventually(lambda: len(client.read_automations_by_name(failures(made[0]).name)) == 1)
        end(client, begun(client, "one video", flow_name="restyle-video"), Failed(message="the job tells of it"))
        end(client, begun(client, "night of the owls"), Failed(message='no such "bucket"'))
        end(client, begun(client, "clips · oil"), Completed(name="Completed, 1 failed", message="3 done, 1 failed"))
        assert eventually(lambda: len(posts) >= 2, 60), posts
    finally:
        for automation in made:
            client.delete_automation(automation)
    (failed,) = [post for post in posts if "url" in post]
    assert (failed["run"], failed["state"], failed["message"]) == ("night of the owls", "Failed", 'no such "bucket"')
    assert failed["url"] is None or failed["id"] in failed["url"]  # a server that was not told its address has none
    (told,) = [post for post in posts if "subject" in post]
    assert told["subject"] == "Steadyframe: clips · oil: Completed, 1 failed"
    assert "3 done, 1 failed" in told["body"]


def test_a_block_that_is_not_there_is_one_clear_error(client: SyncPrefectClient) -> None:
    with pytest.raises(ConfigError, match="no block webhook/nowhere"):
        block_id(client, "webhook/nowhere")
    with pytest.raises(ConfigError, match="TYPE/NAME"):
        block_id(client, "nowhere")
