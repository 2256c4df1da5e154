"""`infra/k8s`, checked offline: Kubernetes' own schemas, KubeRay's fields, our rules on secrets and probes."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from infra.provision import POOL
from tests.unit.infra.raycluster import SCHEMA

ROOT = Path(__file__).parents[3]
VERSION = "1.33"
OPEN_PAGES = {"/api/health", "/api/ready", "/health"}  # answer without a password


@cache
def documents() -> list[Any]:
    found = []
    for file in sorted((ROOT / "infra/k8s").glob("*.yaml")):
        for document in yaml.safe_load_all(file.read_text()):
            found.append(pytest.param(document, id=f"{file.name}-{document['kind']}-{document['metadata']['name']}"))
    return found


def plain(kind: str = "") -> list[dict[str, Any]]:
    values = [parameter.values[0] for parameter in documents()]
    return [value for value in values if kind in ("", value["kind"])]


def pods(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Pod specs of a document."""
    spec = document.get("spec", {})
    if document["kind"] == "RayCluster":
        yield from (group["template"]["spec"] for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]))
    elif isinstance(spec.get("template"), dict):
        yield spec["template"]["spec"]


def containers() -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    for document in plain():
        for pod in pods(document):
            for container in pod["containers"]:
                yield f"{document['kind']} {document['metadata']['name']}", pod, container


@pytest.mark.parametrize("document", documents())
def test_every_document_keeps_its_schema(document: dict[str, Any]) -> None:
    if document["kind"] == "RayCluster":
        jsonschema.validate(document, SCHEMA)
    else:
        kubernetes_validate.validate(document, VERSION, strict=True)
    for pod in pods(document):
        as_pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": pod}
        kubernetes_validate.validate(as_pod, VERSION, strict=True)


def test_the_schemas_refuse_what_is_wrong() -> None:
    (cluster,) = plain("RayCluster")
    for wrong in ({"num-cpus": 0}, {"rayVersions": 1}):
        broken = copy.deepcopy(cluster)
        (broken["spec"]["headGroupSpec"]["rayStartParams"] if "num-cpus" in wrong else broken["spec"]).update(wrong)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(broken, SCHEMA)
    broken = copy.deepcopy(plain("Deployment")[0])
    broken["spec"]["replica"] = 2
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, VERSION, strict=True)


def test_there_is_what_an_installation_needs() -> None:
    kinds = [document["kind"] for document in plain()]
    assert {"RayCluster", "StatefulSet", "Deployment", "Service", "PodDisruptionBudget", "Job"} <= set(kinds)
    (cluster,) = plain("RayCluster")
    groups = {group["groupName"]: group for group in cluster["spec"]["workerGroupSpecs"]}
    assert set(groups) == {"cpu", "gpu"}
    assert groups["gpu"]["minReplicas"] == 0
    (gpu,) = groups["gpu"]["template"]["spec"]["containers"]
    assert gpu["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert cluster["spec"]["enableInTreeAutoscaling"] is True


def test_secrets_are_named_and_never_written_down() -> None:
    assert plain("Secret") == []
    for where, _, container in containers():
        for variable in container.get("env", []):
            if re.search(r"PASSWORD|SECRET|TOKEN|AUTH_STRING|ACCESS_KEY|CONNECTION_URL", variable["name"]):
                assert "secretKeyRef" in variable.get("valueFrom", {}), f"{where}: {variable['name']}"


def test_ray_has_its_token_and_the_server_its_password() -> None:
    (cluster,) = plain("RayCluster")
    assert cluster["spec"]["authOptions"] == {"mode": "token"}
    by_name = {c["name"]: {v["name"]: v for v in c.get("env", [])} for _, _, c in containers()}
    worker = by_name["worker"]
    # KubeRay's generated Secret has the cluster's name
    assert worker["RAY_AUTH_TOKEN"]["valueFrom"]["secretKeyRef"] == {
        "name": cluster["metadata"]["name"],
        "key": "auth_token",
    }
    assert worker["STEADYFRAME_RAY_ADDRESS"]["value"] == f"{cluster['metadata']['name']}-head-svc:6379"
    server = by_name["server"]["PREFECT_SERVER_API_AUTH_STRING"]["valueFrom"]
    assert server == worker["PREFECT_API_AUTH_STRING"]["valueFrom"]


def test_actors_stay_warm_longer_than_nodes_wait() -> None:
    source = (ROOT / "tasks/engine/pool.py").read_text()  # not imported: it brings torch
    ttl = re.search(r"^ACTOR_TTL = ([\d.]+)$", source, re.M)
    assert ttl
    (cluster,) = plain("RayCluster")
    assert cluster["spec"]["autoscalerOptions"]["idleTimeoutSeconds"] > float(ttl[1])


def test_versions_are_those_of_the_lock_file() -> None:
    (cluster,) = plain("RayCluster")
    assert f"ray=={cluster['spec']['rayVersion']}\n" in (ROOT / "constraints.txt").read_text()
    images = {container["image"] for _, _, container in containers()}
    assert all(re.search(r":v?\d+\.\d+", image) for image in images), images


def test_variables_of_ours_are_settings_that_exist() -> None:
    from configs.settings import PREFIX, Settings

    named = {variable["name"] for _, _, container in containers() for variable in container.get("env", [])}
    ours = {name.removeprefix(PREFIX).lower() for name in named if name.startswith(PREFIX)}
    assert {"store", "ray_address", "roots"} <= ours <= set(Settings.model_fields)


def test_nobody_is_root_and_everything_is_bounded() -> None:
    for where, pod, container in containers():
        assert pod["securityContext"]["runAsNonRoot"] is True, where
        assert container["securityContext"]["allowPrivilegeEscalation"] is False, where
        assert {"cpu", "memory"} <= set(container["resources"]["requests"]), where
        assert "memory" in container["resources"]["limits"], where


def test_probes_ask_open_pages() -> None:
    for where, _, container in containers():
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            if "httpGet" in container.get(probe, {}):
                assert container[probe]["httpGet"]["path"] in OPEN_PAGES, where
                assert "httpHeaders" not in container[probe]["httpGet"], where


def test_selectors_find_their_pods_and_services() -> None:
    labels = [
        d["spec"]["template"]["metadata"]["labels"]
        for d in plain()
        if d["kind"] in ("Deployment", "StatefulSet", "Job")
    ]
    chosen = [d["spec"]["selector"] for d in plain("Service")]
    budgets = [d["spec"]["selector"]["matchLabels"] for d in plain("PodDisruptionBudget")]
    for wanted in [*chosen, *(b for b in budgets if "ray.io/cluster" not in b)]:
        assert any(wanted.items() <= there.items() for there in labels), wanted
    services = {d["metadata"]["name"] for d in plain("Service")}
    text = "".join(file.read_text() for file in (ROOT / "infra/k8s").glob("*.yaml"))
    assert set(re.findall(r"(?:http://|@)(steadyframe-[a-z]+):", text)) <= services


def claims(pod: dict[str, Any], container: dict[str, Any]) -> dict[str, str]:
    """Path in the container -> the claim that is mounted there."""
    named = {v["name"]: v["persistentVolumeClaim"]["claimName"] for v in pod["volumes"] if "persistentVolumeClaim" in v}
    return {m["mountPath"]: named[m["name"]] for m in container["volumeMounts"] if m["name"] in named}


def test_every_pod_of_ray_sees_the_videos_that_the_worker_sees() -> None:
    """Actors decode windows from the path that the driver names, the demo clip in the cache folder among them."""
    cache = re.search(r"XDG_CACHE_HOME=(\S+)", (ROOT / "infra/Dockerfile").read_text())
    assert cache
    nodes = [
        (container["name"], claims(pod, container))
        for where, pod, container in containers()
        if where.startswith("RayCluster") or "ray start" in " ".join(container.get("args", []))
    ]
    assert sorted(name for name, _ in nodes) == ["ray-head", "ray-worker", "ray-worker", "worker"]
    media = dict(nodes)["worker"]
    assert set(media) == {"/videos", cache[1]}
    assert [seen for _, seen in nodes] == [media] * 4
    shared = {c["metadata"]["name"]: c["spec"]["accessModes"] for c in plain("PersistentVolumeClaim")}
    assert {name: shared[name] for name in media.values()} == {name: ["ReadWriteMany"] for name in media.values()}


def test_figures_of_runs_outlive_them_where_prometheus_asks() -> None:
    """A port lives in the run's process: what it counted last is gone before anybody asks."""
    (worker,) = (d for d in plain("Deployment") if d["metadata"]["name"] == "steadyframe-worker")
    (pod,) = pods(worker)
    runs, exporter = pod["containers"]
    variables = {v["name"]: v.get("value", "") for v in runs["env"] if v["name"].startswith("STEADYFRAME_METRICS_")}
    assert set(variables) == {"STEADYFRAME_METRICS_FILE"}
    file = Path(variables["STEADYFRAME_METRICS_FILE"])
    assert file.suffix == ".prom", "node_exporter reads no other"
    at = [{m["mountPath"]: m["name"] for m in c["volumeMounts"]}[str(file.parent)] for c in (runs, exporter)]
    assert at[0] == at[1]
    assert f"--collector.textfile.directory={file.parent}" in exporter["args"]
    asked = worker["spec"]["template"]["metadata"]["annotations"]["prometheus.io/port"]
    assert [str(port["containerPort"]) for port in exporter["ports"]] == [asked]


def test_prometheus_may_ask_the_pods_that_say_so() -> None:
    (cluster,) = plain("RayCluster")
    groups = (cluster["spec"]["headGroupSpec"], *cluster["spec"]["workerGroupSpecs"])
    ports = {int(group["template"]["metadata"]["annotations"]["prometheus.io/port"]) for group in groups}
    (policy,) = (p for p in plain("NetworkPolicy") if "ray.io/cluster" in p["spec"]["podSelector"]["matchLabels"])
    prometheus = {
        "namespaceSelector": {},
        "podSelector": {"matchLabels": {"app.kubernetes.io/name": "prometheus"}},
    }
    allowed = [rule["ports"] for rule in policy["spec"]["ingress"] if rule["from"] == [prometheus]]
    assert allowed == [[{"port": port} for port in ports]]


def test_commands_speak_of_the_pool_that_is_provisioned() -> None:
    commands = " ".join(" ".join(container.get("args", [])) for _, _, container in containers())
    assert set(re.findall(r"--pool (\S+)", commands)) == {POOL}
