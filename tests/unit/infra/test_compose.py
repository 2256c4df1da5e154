"""`infra/compose.yaml` against the compose schema that check-jsonschema brings, and our own rules; without Docker."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
FILE = ROOT / "infra/compose.yaml"
DOCKERFILE = ROOT / "infra/Dockerfile"
OURS = ("prefect-server", "setup", "worker", "ray-head", "ray-worker", "ray-gpu")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(FILE.read_text())
    return loaded


def check(file: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("check-jsonschema")), "--builtin-schema", "vendor.compose-spec"]
    return subprocess.run([*command, str(file)], capture_output=True, text=True, timeout=60, check=False)


def test_it_is_a_compose_file(tmp_path: Path) -> None:
    assert check(FILE).returncode == 0, check(FILE).stdout
    broken = tmp_path / "compose.yaml"
    broken.write_text(FILE.read_text().replace("restart: unless-stopped", "restarts: sometimes"))
    assert check(broken).returncode != 0, "the schema would accept anything"


def test_images_are_pinned(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        tag = service["image"].rpartition(":")[2]
        assert re.search(r"\d", tag), name
        assert tag != "latest", name


def test_every_secret_comes_from_outside_and_nothing_starts_without_it(compose: dict[str, Any]) -> None:
    named = {}
    for service in compose["services"].values():
        named |= service.get("environment", {})
    secret = {
        name: value for name, value in named.items() if re.search(r"PASSWORD|SECRET|TOKEN|AUTH_STRING|ACCESS_KEY", name)
    }
    assert {"POSTGRES_PASSWORD", "PREFECT_SERVER_API_AUTH_STRING", "PREFECT_API_AUTH_STRING", "RAY_AUTH_TOKEN"} <= set(
        secret
    )
    for name, value in [*secret.items(), ("url", named["PREFECT_API_DATABASE_CONNECTION_URL"])]:
        assert re.search(r"\$\{\w+:\?", value), f"{name} has a value or a default: {value}"
    example = dict(
        row.split("=", 1) for row in (ROOT / "infra/compose.env.example").read_text().splitlines() if "=" in row
    )
    asked = set(re.findall(r"\$\{(\w+):\?", FILE.read_text()))
    assert asked <= set(example)
    assert all(example[name] == "" for name in asked)
    assert "/infra/.env" in (ROOT / ".gitignore").read_text().splitlines()


def test_the_server_has_a_password_and_ray_a_token(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert "PREFECT_SERVER_API_AUTH_STRING" in services["prefect-server"]["environment"]
    for name in ("ray-head", "ray-worker", "ray-gpu", "worker"):
        assert services[name]["environment"]["RAY_AUTH_MODE"] == "token"
        assert "RAY_AUTH_TOKEN" in services[name]["environment"]


def test_only_the_loopback_of_the_host_is_published(compose: dict[str, Any]) -> None:
    ports = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert ports
    assert all(str(port).startswith("127.0.0.1:") for port in ports)


def test_what_is_waited_for_says_how_it_is(compose: dict[str, Any]) -> None:
    services = compose["services"]
    for name, service in services.items():
        for other, how in service.get("depends_on", {}).items():
            if how["condition"] == "service_healthy":
                assert "test" in services[other]["healthcheck"], f"{name} waits for {other} for ever"


def test_our_containers_may_do_little(compose: dict[str, Any]) -> None:
    for name in OURS:
        assert compose["services"][name]["cap_drop"] == ["ALL"]
        assert "no-new-privileges:true" in compose["services"][name]["security_opt"]


def test_mounted_files_are_there_and_volumes_declared(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("./infra/"):
                assert (ROOT / source).exists(), source
            elif source.isidentifier():
                assert source in compose["volumes"], source


def test_prometheus_scrapes_services_that_exist(compose: dict[str, Any]) -> None:
    config = yaml.safe_load((ROOT / "infra/prometheus.yaml").read_text())
    targets = [t for job in config["scrape_configs"] for s in job["static_configs"] for t in s["targets"]]
    assert {target.split(":")[0] for target in targets} <= set(compose["services"])
    assert "node-exporter:9100" in targets


def test_figures_of_runs_outlive_them_where_prometheus_asks(compose: dict[str, Any]) -> None:
    """A port lives in the run's process: what it counted last is gone before anybody asks."""
    worker, exporter = (compose["services"][name] for name in ("worker", "node-exporter"))
    assert not [
        name for name in worker["environment"] if name.startswith("STEADYFRAME_METRICS_") and "FILE" not in name
    ]
    file = Path(worker["environment"]["STEADYFRAME_METRICS_FILE"])
    assert file.suffix == ".prom", "node_exporter reads no other"
    assert mounts(worker)[str(file.parent)] == mounts(exporter)[str(file.parent)]
    assert f"--collector.textfile.directory={file.parent}" in exporter["command"]
    assert str(file.parent) in made_by_the_image()


def mounts(service: dict[str, Any]) -> dict[str, str]:
    """Path in the container -> what is mounted there."""
    pairs = [re.fullmatch(r"(.+?):(/[^:]*)(?::ro)?", volume) for volume in service.get("volumes", [])]
    assert all(pairs), service
    return {pair[2]: pair[1] for pair in pairs if pair}


def made_by_the_image() -> set[str]:
    """Folders that `infra/Dockerfile` gives to our user: a new volume mounted there is his, any other root's."""
    (made,) = re.findall(r"install --directory --owner=10001 --group=10001 ([/\w ]+)", DOCKERFILE.read_text())
    return set(made.split())


def test_every_node_of_ray_sees_the_videos_that_the_worker_sees(compose: dict[str, Any]) -> None:
    """Actors decode windows from the path that the driver names, the demo clip in the cache folder among them."""
    services = compose["services"]
    media = {path: what for path, what in mounts(services["worker"]).items() if path != "/metrics"}
    cache = re.search(r"XDG_CACHE_HOME=(\S+)", DOCKERFILE.read_text())
    assert cache
    assert set(media) == {"/videos", cache[1]}
    assert cache[1] in made_by_the_image()
    nodes = [name for name, s in services.items() if re.search(r"ray,? start", " ".join(s.get("command", [])))]
    assert set(nodes) == {"worker", "ray-head", "ray-worker", "ray-gpu"}
    for name in nodes:
        assert media.items() <= mounts(services[name]).items(), name
        assert "XDG_CACHE_HOME" not in services[name]["environment"], name


def test_variables_of_ours_are_settings_that_exist(compose: dict[str, Any]) -> None:
    from configs.settings import PREFIX, Settings

    named = {name for service in compose["services"].values() for name in service.get("environment", {})}
    ours = {name.removeprefix(PREFIX).lower() for name in named if name.startswith(PREFIX)}
    assert {"store", "ray_address", "roots"} <= ours <= set(Settings.model_fields)
