"""Secrets are taken out of texts, ordinary texts are left as they are, and run forms refuse addresses with secrets."""

from __future__ import annotations

import logging
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from configs.errors import ConfigError, UnreadableVideo
from configs.form import RestyleForm
from configs.redact import MASK, OPEN_TEXT, RedactingFilter, clean, redact, redact_all

SECRET = "pLanTed-S3cret/Value"
WORDS = st.text("abcdefghijklmnopqrstuvwxyz0123456789-._~%", min_size=4, max_size=24)

HIDDEN = [
    f"https://user:{SECRET}@host.example/clip.mp4",
    f"https://{SECRET.replace('/', '')}@host.example/clip.mp4",
    f"s3://AKIAABCDEFGHIJKLMNOP:{SECRET}@bucket/clip.mp4",
    f"https://host.example:8080/a@2x.mp4?x=1&X-Amz-Signature={SECRET}",
    f"https://host.example/a.mp4?sv=2024&sig={SECRET}&se=1",
    f"https://host.example/a.mp4#access_token={SECRET}",
    f"UnreadableVideo: 403, url='https://host.example/a.mp4?token={SECRET}'; check it",
    f"postgresql+asyncpg://prefect:{SECRET}@db:5432/prefect",
    f"AWS_SECRET_ACCESS_KEY={SECRET} python x.py",
    f'{{"HF_TOKEN": "{SECRET}"}}',
    f"aws_secret_access_key = {SECRET}",
    f"Authorization: Bearer {SECRET}",
    f"connecting with password={SECRET}, host=db",
    f"abfs://container:{SECRET}@account.dfs.core.windows.net/a.mp4",
    f"POST https://hooks.slack.com/services/T0/B0/{SECRET} said 404",
    f"POST https://discord.com/api/webhooks/12345/{SECRET} said 404",
    f"POST https://firm.webhook.office.com/webhookb2/{SECRET} said 404",
]
LEFT_ALONE = [
    "s3://bucket/holiday@2x.mp4",
    "https://host.example:8080/a@b/clip.mp4?versionId=3",
    "/home/me@work/clip.mp4",
    "abfs://container@account.dfs.core.windows.net/night/clip.mp4",
    "a basic bearer of a golden key: at night = good, token of love",
    "--set needs key=value, got 'window'; e.g. --set window.size=4",
    "denoise 1a2b3c4d is not what was published",
]


@pytest.mark.parametrize("text", HIDDEN)
def test_secrets_are_hidden_and_the_rest_stays_readable(text: str) -> None:
    told = redact(text)
    assert SECRET not in told
    assert SECRET.replace("/", "") not in told
    assert MASK in told
    assert redact(told) == told


@pytest.mark.parametrize("text", LEFT_ALONE)
def test_ordinary_texts_are_left_alone(text: str) -> None:
    assert redact(text) == text


@given(user=WORDS, password=WORDS, host=st.from_regex(r"[a-z]{1,8}\.example", fullmatch=True), tail=WORDS)
def test_no_user_info_of_any_url_survives(user: str, password: str, host: str, tail: str) -> None:
    told = redact(f"failed on 'https://{user}:{password}@{host}/{tail}'")
    assert told == f"failed on 'https://{MASK}@{host}/{tail}'"


@pytest.mark.parametrize("url", ["https://me:planted-secret@h/x", "https://h/x?sig=planted-secret"])
def test_values_of_secret_variables_are_found_wherever_they_are(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "admin:hunter2/x")
    monkeypatch.setenv("LOVE_TOKEN", "short")
    assert redact("server said: bad login admin:hunter2/x") == f"server said: bad login {MASK}"
    assert redact("short words stay") == "short words stay"
    monkeypatch.setenv("STEADYFRAME_NOTIFY", "https://chat.example/hooks/T0/B1")
    assert "T0/B1" not in redact("POST https://chat.example/hooks/T0/B1 said 404")
    assert "planted-secret" not in redact(url)


def test_nested_values_are_cleaned_and_others_equal() -> None:
    value = {"sources": ["https://u:planted@h/x"], "n": 1, "deep": {"HF_TOKEN": "abc", "tokens": 3, "key": "1a2b"}}
    told = redact_all(value)
    assert told == {"sources": [f"https://{MASK}@h/x"], "n": 1, "deep": {"HF_TOKEN": MASK, "tokens": 3, "key": "1a2b"}}


def test_our_errors_never_say_a_secret() -> None:
    """They end up in `--json`, logs, states, dead letters: so at the root."""
    for kind in (ConfigError, UnreadableVideo):
        assert "planted" not in str(kind("https://me:planted@h/x.mp4: no such object"))
    foreign = RuntimeError("403 https://h/x?token=planted")
    assert "planted" not in str(clean(foreign))
    ordinary = KeyError("x")
    assert clean(ordinary) is ordinary


def test_a_log_record_loses_its_secrets_traceback_included(caplog: pytest.LogCaptureFixture) -> None:
    caplog.handler.addFilter(RedactingFilter())
    log = logging.getLogger("redact-test")
    try:
        raise RuntimeError("https://me:planted@h/x")
    except RuntimeError:
        log.exception("could not fetch %s", "https://h/x?token=planted")
    assert "planted" not in caplog.text
    assert "RuntimeError" in caplog.text
    log.warning("wrong %d", "https://me:planted@h/x" and 1)
    assert "wrong 1" in caplog.text


@pytest.mark.parametrize("text", [HIDDEN[i] for i in (0, 1, 2, 3, 4, 5)] + ["line\nhttps://u:p@h/x"])
def test_a_form_refuses_an_address_with_a_secret_and_says_where_to_put_it(text: str) -> None:
    assert not re.search(OPEN_TEXT, text)  # what the server asks, by JSON schema
    given: dict[str, Any] = {"sources": [text]}
    with pytest.raises(ValidationError, match="secret:NAME-OF-THE-BLOCK") as refused:
        RestyleForm.model_validate(given)
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize("text", [*LEFT_ALONE[:5], "demo", "secret:clip", "clips/*.mp4", "window.size=4"])
def test_a_form_takes_everything_else(text: str) -> None:
    assert re.search(OPEN_TEXT, text)
