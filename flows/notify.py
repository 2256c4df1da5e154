"""One message when a job has ended: to a webhook, a chat, or whatever a saved Prefect notification block speaks to.

Whom to tell is `STEADYFRAME_NOTIFY` of the process that runs the job, never a parameter of the run; the address may
be a secret, so nothing here prints, stores or raises it. A message that cannot be sent is a warning and nothing more.
Runs that die without a last word are told by an automation of the Prefect server (`flows.crash_notice`).
"""

from __future__ import annotations

import json
import logging
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from configs.errors import ConfigError, Interrupted, SteadyframeError
from configs.redact import redact
from configs.settings import load_settings
from flows.dead import DeadLetter, dead_letters
from flows.result import JobResult
from tasks.failure import classify

if TYPE_CHECKING:
    from tasks.store import Store

_SECONDS = 10.0
_NAMED = 20  # dead videos that a message names; the index has them all
_TALKATIVE = ("apprise", "httpx", "httpcore")  # they log the addresses they speak to

log = logging.getLogger("steadyframe")


@dataclass(frozen=True)
class Message:
    """What is told about a job; its JSON object is what a plain webhook gets, with `subject` and `text` for people.

    `dead` has one row per video that failed: `source`, `failure` (its class), `exception` and `message`; `replay` is
    the command that tries them again.
    """

    job: str
    method: str
    status: str
    done: int
    review: int
    dead: list[dict[str, str]] = field(default_factory=list)
    index: str = ""
    replay: str = ""

    @property
    def subject(self) -> str:
        """One line: what ended and how."""
        review = f", {self.review} to look at" if self.review else ""
        dead = f", {len(self.dead)} dead" if self.dead else ""
        return f"Steadyframe {self.method} {self.status}: {self.done} done{dead}{review}"

    @property
    def text(self) -> str:
        """The rest: which videos are dead and why, where to look, what to do."""
        lines = [f"job {self.job}"] if self.job else []
        for row in self.dead[:_NAMED]:
            lines.append(f"- {row['failure']}: {row['source'] or 'the job'}: {row['exception']}: {row['message']}")
        if len(self.dead) > _NAMED:
            lines.append(f"- and {len(self.dead) - _NAMED} more")
        if self.index:
            lines.append(f"index: {self.index}")
        if self.replay:
            lines.append(f"after the repair: {self.replay}")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {**asdict(self), "subject": self.subject, "text": f"{self.subject}\n{self.text}"}


def message_of(result: JobResult, store: Store | None = None, index: str = "") -> Message:
    """The message about a result; classes of failures come from the dead letters in `store`, where there are any."""
    rows = [
        {"source": e.source, "failure": classify(e.kind()), "exception": e.class_name, "message": e.message}
        for e in result.errors
        if not issubclass(e.kind, Interrupted)  # a video that was stopped is not dead
    ]
    letters = _letters(store, result.job) if store is not None and result.job else {}
    for row in rows:
        if row["source"] in letters:
            row["failure"] = letters[row["source"]].failure
    videos = [row["source"] for row in rows if row["source"]]
    # a library's video that died in an earlier job, unchanged since, has its letter there
    only = f" --job {result.job}" if all(source in letters for source in videos) else ""
    return Message(
        job=result.job,
        method=result.method,
        status=result.status,
        done=len(result.outputs),
        review=sum(output.review for output in result.outputs),
        dead=[{name: redact(text) for name, text in row.items()} for row in rows],
        index=redact(index),
        replay=f"steadyframe replay{only}" if videos else "",
    )


def _letters(store: Store, job: str) -> dict[str, DeadLetter]:
    """The letters of a job by source; none of a store that cannot be read, which may be what the message is about."""
    try:
        return {letter.source: letter for letter in dead_letters(store, job)}
    except SteadyframeError:
        return {}


def announce(result: JobResult, store: Store | None = None, index: str = "") -> bool:
    """Tell whom the settings name that a job has ended; whether somebody was told. Raises nothing.

    `index` is where the page of a library is.
    """
    try:
        settings = load_settings()
        if settings.notify is None or (settings.notify_on == "failure" and not result.errors):
            return False
        send(settings.notify.get_secret_value().strip(), message_of(result, store, index))
    except SteadyframeError as error:
        log.warning("nobody was notified: %s", error)
        return False
    except Exception as error:  # whatever a chat service's client raises; its words may hold the address
        status = getattr(getattr(error, "response", None), "status_code", None) or getattr(error, "code", None)
        reason = getattr(error, "reason", None)
        cause = f"{type(error).__name__} {status or ''}".strip()
        cause += f" ({type(reason).__name__})" if isinstance(reason, BaseException) else ""
        log.warning("nobody was notified: STEADYFRAME_NOTIFY could not be reached: %s", cause)
        return False
    return True


def send(target: str, message: Message) -> None:
    """Send to an address or to a saved block. Errors: ConfigError without the address, or what the service raises."""
    with _hushed():
        if "://" not in target:
            with _block(target) as block:
                block.notify(message.text, message.subject)
            return
        import apprise

        service = apprise.Apprise.instantiate(target, suppress_exceptions=True)
        if service is not None:
            if not service.notify(title=message.subject, body=message.text):
                raise ConfigError("the service that STEADYFRAME_NOTIFY names did not take the message")
        elif target.startswith(("https://", "http://")):
            _post(target, message)
        else:
            raise ConfigError(
                "STEADYFRAME_NOTIFY must be a saved block as TYPE/NAME, https://..., or an apprise address"
            )


def _post(url: str, message: Message) -> None:
    """The message as JSON, as one POST. An answer other than 2xx raises."""
    body = json.dumps(message.to_dict()).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json", "User-Agent": "steadyframe"})
    with urllib.request.urlopen(request, timeout=_SECONDS):
        pass


@contextmanager
def _block(name: str) -> Iterator[Any]:
    """The saved notification block `TYPE/NAME` (`slack-webhook/nightly`), while its server is there."""
    import prefect.blocks.notifications  # noqa: F401  (registers the types)
    from prefect.blocks.abstract import NotificationBlock
    from prefect.blocks.core import Block

    from flows.server import local_api

    if name.count("/") != 1:
        raise ConfigError("STEADYFRAME_NOTIFY names no block: write TYPE/NAME, such as slack-webhook/nightly")
    with local_api():
        try:
            block = Block.load(name)
        except ValueError:
            raise ConfigError(
                "the Prefect server has no block of the name in STEADYFRAME_NOTIFY; save one, or mend the name"
            ) from None
        if not isinstance(block, NotificationBlock):
            raise ConfigError(f"STEADYFRAME_NOTIFY names a {type(block).__name__}, which notifies nobody")
        yield block


@contextmanager
def _hushed() -> Iterator[None]:
    """Keep the addresses of services out of the logs of the libraries that speak to them."""
    loggers = [logging.getLogger(name) for name in _TALKATIVE]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
