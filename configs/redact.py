"""What may be kept of a text: everything but passwords, tokens and keys, which become `***`.

Whatever is stored or logged passes through here: manifests, job records, dead letters, reports, run parameters,
messages of errors. Nothing that is computed does, so no key and no pixel depends on it. Knows texts and the names of
this process's environment variables; opens nothing.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any
from urllib.parse import quote

MASK = "***"
SHORTEST = 8
"""Values of environment variables with fewer characters are left alone: they would be found in ordinary words."""

_WORDS = ("token", "sig", "secret", "passw", "pwd", "auth", "key", "cred", "session")
_NAME = (
    r"[A-Z][A-Z0-9_]*(?:TOKEN|SECRET|PASSWORD|PASSWD|AUTH_STRING|API_KEY|ACCESS_KEY|SECRET_KEY|ACCESS_KEY_ID"
    r"|ENCRYPTION_KEY|SAS_KEY|ACCOUNT_KEY)"
)
_LOWER = r"aws_[a-z_]+|password|passwd|client_secret|access_token|auth_token|api_key|secret_key"
_AZURE = ("abfs", "abfss", "wasb", "wasbs")
_USER_INFO = (
    "".join(f"(?<!{scheme}://)" for scheme in _AZURE) + r"[^/?#\s\x22'@:]*@|[^/?#\s\x22'@:]*:(?!\d+/)[^?#\s\x22'@]*@"
)
"""`user:password@` of a URL, also with a slash in the password that nobody escaped; `host:80/a@b` is none, and what
stands before the @ in Azure's addresses is a container, `abfs://container@account/path`."""
_ENVIRONMENT = re.compile(_NAME)
_NOTIFY = "STEADYFRAME_NOTIFY"  # an address of a chat, which is a secret as a whole
_RULES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(rf"(?<=://)(?:{_USER_INFO})"), f"{MASK}@"),
    # ...?token=value and signed addresses of S3, Google and Azure
    (
        re.compile(rf"(?i)([?&#;][^=&#\s\"']*(?:{'|'.join(_WORDS)})[^=&#\s\"']*=)[^&#;\s\"'<>)]*[^&#;\s\"'<>):,.]"),
        rf"\g<1>{MASK}",
    ),
    (re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b(?::[^\s@\"']+(?=@))?"), MASK),
    # tokens that say by their shape what they are: GitHub, Hugging Face, Slack, JSON web tokens, private keys
    (re.compile(r"\bgh[pousr]_\w{20,}|\bgithub_pat_\w{20,}|\bhf_\w{20,}|\bxox[abeprs]-[\w-]{10,}"), MASK),
    (re.compile(r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"), MASK),
    # addresses of chats, whose path is the secret
    (
        re.compile(r"(hooks\.slack\.com/|discord(?:app)?\.com/api/webhooks/|webhook\.office\.com/)[^\s\"']+"),
        rf"\g<1>{MASK}",
    ),
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL), MASK),
    (re.compile(r"(?i)(\bauthorization[\"']?\s*[:=]\s*[\"']?(?:bearer|basic)?\s*)[^\s\"',}]+"), rf"\g<1>{MASK}"),
    (re.compile(rf"\b({_NAME})([\"']?\s*[=:]\s*[\"']?)[^\s\"',}}]+"), rf"\g<1>\g<2>{MASK}"),
    (re.compile(rf"\b({_LOWER})([\"']?\s*=\s*[\"']?)[^\s\"',}}]+"), rf"\g<1>\g<2>{MASK}"),
)
_WORTH_A_LOOK = re.compile(r"[@=:]|AKIA|ASIA|gh[pousr]_|_pat_|hf_|xox|eyJ|-----")


def redact(text: str) -> str:
    """Return `text` without secrets: user info and signed queries of URLs, AWS keys, `NAME=value` of well-known
    names, and the value of any such environment variable of this process wherever it appears.
    """
    for value in _environment_values():
        if value in text:
            text = text.replace(value, MASK)
    if _WORTH_A_LOOK.search(text):
        for pattern, replacement in _RULES:
            text = pattern.sub(replacement, text)
    return text


def redact_all(value: Any) -> Any:
    """`redact` on every text in nested mappings, lists and tuples; what a secret variable's name leads to is masked."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {
            name: MASK if isinstance(name, str) and item and _ENVIRONMENT.fullmatch(name) else redact_all(item)
            for name, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [redact_all(item) for item in value]
    return value


def clean(error: BaseException) -> BaseException:
    """Return `error`, or when its message holds a secret an error without: to be raised `from None`."""
    told = redact(str(error))
    return error if told == str(error) else RuntimeError(f"{type(error).__name__}: {told}")


def _environment_values() -> Iterator[str]:
    for name in os.environ:
        if not _is_secret(name):
            continue
        value = os.environ.get(name, "")
        if len(value) >= SHORTEST and (name != _NOTIFY or "://" in value):
            yield value
            if (escaped := quote(value, safe="")) != value:
                yield escaped


@cache
def _is_secret(name: str) -> bool:
    return name == _NOTIFY or _ENVIRONMENT.fullmatch(name) is not None


class RedactingFilter(logging.Filter):
    """Takes secrets out of a record's message and traceback; put it on handlers, whose loggers are not ours."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite the record in place and let it pass."""
        try:
            told = record.getMessage()
        except (TypeError, ValueError):  # a format that does not fit its arguments is the handler's to report
            return True
        if (kept := redact(told)) != told:
            record.msg, record.args = kept, None
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        if record.exc_text and (kept := redact(record.exc_text)) != record.exc_text:
            # handlers that format the exception themselves (rich) would print it as it is
            record.exc_text, record.exc_info = kept, None
        return True


def _any_case(word: str) -> str:
    return "".join(f"[{c}{c.upper()}]" for c in word)


_ADVICE = "no password or token in an address: put it into a Secret block and write secret:NAME"
OPEN_TEXT = (
    rf"^(?!{_ADVICE})(?![\s\S]*://(?:{_USER_INFO}))(?![\s\S]*[?&#;][^=&]*({'|'.join(map(_any_case, _WORDS))})[^=&]*=)"
)
"""Pattern of a text without an address that holds a secret, for JSON schemas: Prefect's server refuses a run whose
parameters do not match, before it stores them. Written for Python's and for JavaScript's regular expressions; it begins
with advice, as people are shown the pattern and nothing else."""
