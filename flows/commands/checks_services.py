"""Checks of `steadyframe doctor` on what a job talks to: the store, the Prefect server, the Ray cluster, and clocks."""

from __future__ import annotations

import base64
import os
import socket
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from importlib import metadata
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import SecretStr

from configs.errors import SteadyframeError
from configs.redact import redact
from configs.settings import Settings
from flows.commands.checks import Check

SKEW_NOTE = 5.0
"""Seconds between two clocks that are worth a note: leases run out by the clock after 30."""


def check_store(url: str) -> Iterator[Check]:
    """Write, read back, create once, list; then compare clocks."""
    from tasks.store import Store
    from tasks.store.in_use import store_time

    try:
        began = time.perf_counter()
        opened = Store.open(url, workers=0)  # writes, reads back and deletes a probe
        took = time.perf_counter() - began
        probe = f"probes/{uuid.uuid4().hex}"
        try:
            created = [opened.blobs.put_new(probe, word) for word in (b"first", b"second")]
            kept = opened.blobs.get(probe)
            listed = probe in opened.blobs.sizes("probes")
        finally:
            opened.blobs.delete(probe)
    except SteadyframeError as error:
        yield Check("store", "bad", str(error), "choose another --store or STEADYFRAME_STORE, or mend this one")
        return
    yield Check("store", "ok", f"{redact(opened.url)} can be written and read ({took * 1000:.0f} ms)")
    if (created, kept) == ([True, False], b"first"):
        yield Check("store: create once", "ok", "of two writers one wins")
    else:
        fix = "one job at a time on this store, or an object store that knows If-None-Match (S3, MinIO >= 2024-08)"
        yield Check("store: create once", "bad", "a second writer replaced what the first had created", fix)
    if not listed:
        fix = "an object store with consistent listings is needed"
        yield Check("store: listing", "bad", "a new object is not in the listing", fix)
    before = time.time()
    told = store_time(opened)
    yield _clock("store clock", told - (before + time.time()) / 2, "the store")


def check_server(settings: Settings) -> Iterator[Check]:
    """The Prefect server of PREFECT_API_URL: reachable, lets us in, fits our version; or the local one."""
    from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL

    url = PREFECT_API_URL.value()
    if not url:
        yield _local_server(settings)
        return
    shown = redact(url)
    try:
        began = time.time()
        with urllib.request.urlopen(f"{url.rstrip('/')}/health", timeout=5) as answer:
            said = answer.headers.get("Date")
    except (urllib.error.URLError, OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        fix = "start that server, or unset PREFECT_API_URL to use a local one"
        yield Check("prefect server", "bad", f"PREFECT_API_URL={shown} does not answer ({reason})", fix)
        return
    yield Check("prefect server", "ok", f"{shown} answers in {(time.time() - began) * 1000:.0f} ms")
    secret = PREFECT_API_AUTH_STRING.value()
    yield from _let_in(url, secret.get_secret_value() if isinstance(secret, SecretStr) else str(secret or ""))
    if said:  # a whole second, told within the answer's time
        yield _clock("server clock", parsedate_to_datetime(said).timestamp() + 0.5 - began, "the server")


def _local_server(settings: Settings) -> Check:
    from flows.server import ServerRecord, users

    folder = settings.server_dir.expanduser().absolute()
    record = ServerRecord.read(folder)
    if record is None or not record.process.alive():
        return Check("prefect server", "ok", "PREFECT_API_URL is not set; a local one is started when needed")
    try:
        with urllib.request.urlopen(f"{record.url}/health", timeout=5):
            return Check("prefect server", "ok", f"local, {record.url}, {len(users(folder))} users")
    except (urllib.error.URLError, OSError) as error:
        fix = f"see {folder / 'server.log'}; the next job replaces it"
        return Check("prefect server", "note", f"local, {record.url} does not answer ({error})", fix)


def _let_in(url: str, secret: str) -> Iterator[Check]:
    """Ask what only those may know who are let in."""
    request = urllib.request.Request(f"{url.rstrip('/')}/admin/version")
    if secret:
        request.add_header("Authorization", f"Basic {base64.b64encode(secret.encode()).decode()}")
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            version = answer.read().decode().strip().strip('"')
    except urllib.error.HTTPError as error:
        given = "the one given is not it" if secret else "none is given"
        fix = "set PREFECT_API_AUTH_STRING to the server's PREFECT_SERVER_API_AUTH_STRING (user:password)"
        yield Check("server auth", "bad", f"HTTP {error.code}: the server wants an auth string, {given}", fix)
        return
    except (urllib.error.URLError, OSError) as error:
        yield Check("server auth", "bad", f"{error}", "see the server's log")
        return
    here = metadata.version("prefect")
    open_to_all = not secret and urlsplit(url).hostname not in ("127.0.0.1", "localhost", "::1")
    if open_to_all:
        fix = "set PREFECT_SERVER_API_AUTH_STRING there and PREFECT_API_AUTH_STRING here (docs/security.md)"
        yield Check("server auth", "note", "the server lets everybody in", fix)
    else:
        yield Check("server auth", "ok", "let in" if secret else "none asked for, on the loopback")
    if version.split(".")[:2] != here.split(".")[:2]:
        fix = "install the same minor version on both sides, then deploy again"
        yield Check("server version", "note", f"server {version}, here {here}", fix)
    else:
        yield Check("server version", "ok", version)


def check_ray(settings: Settings) -> Iterator[Check]:
    """The cluster of STEADYFRAME_RAY_ADDRESS: its port answers, and there is a token to show it."""
    address = settings.ray_address
    if not address:
        yield Check("ray cluster", "ok", "STEADYFRAME_RAY_ADDRESS is not set; workers are started on this machine")
        return
    if address in ("auto", "local"):
        yield Check("ray cluster", "ok", f"STEADYFRAME_RAY_ADDRESS={address}: found on this machine when needed")
        return
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not port.isdigit():
        fix = "set it to host:port of the head (6379), or ray://host:10001"
        yield Check("ray cluster", "bad", f"STEADYFRAME_RAY_ADDRESS={address} names no port", fix)
        return
    try:
        with socket.create_connection((host, int(port)), timeout=5):
            yield Check("ray cluster", "ok", f"{address} accepts connections")
    except OSError as error:
        fix = f"start it (ray start --head --port={port}), or open the way to it, or unset STEADYFRAME_RAY_ADDRESS"
        yield Check("ray cluster", "bad", f"{address} does not answer ({error.strerror or error})", fix)
    yield ray_token()


def ray_token() -> Check:
    """Whether there is a token, where Ray looks for one; never the token itself."""
    if os.environ.get("RAY_AUTH_MODE", "token").lower() != "token":
        fix = "unset RAY_AUTH_MODE and share a token, unless nobody else can reach the cluster (docs/security.md)"
        return Check("ray token", "note", f"RAY_AUTH_MODE={os.environ['RAY_AUTH_MODE']}: no token is asked for", fix)
    if os.environ.get("RAY_AUTH_TOKEN"):
        return Check("ray token", "ok", "from RAY_AUTH_TOKEN")
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    if not path.is_file() or not path.read_text().strip():
        fix = f"copy the head's ~/.ray/auth_token to {path}, or set RAY_AUTH_TOKEN"
        return Check("ray token", "bad", f"no token in {path}: the cluster will refuse us", fix)
    if path.stat().st_mode & 0o077:
        return Check("ray token", "note", f"{path} can be read by others", f"chmod 600 {path}")
    return Check("ray token", "ok", f"from {path}")


def _clock(name: str, ahead: float, whose: str) -> Check:
    """A finding about two clocks; `ahead` is theirs against ours, in seconds."""
    if abs(ahead) < SKEW_NOTE:
        return Check(name, "ok", f"agrees with ours within {SKEW_NOTE:.0f} s")
    fix = "keep both by NTP: leases run out by the clock after 30 s (results stay right, work may be done twice)"
    way = "ahead of" if ahead > 0 else "behind"
    return Check(name, "note", f"{whose} is {abs(ahead):.0f} s {way} this machine", fix)
