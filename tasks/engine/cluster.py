"""This process and its Ray cluster: joining one or starting one, and what machines it is made of.

Knows no engine and no model.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager

import ray
from ray.exceptions import GetTimeoutError

from configs.errors import DeviceError
from tasks.numerics import processor_name

NAMESPACE = "steadyframe"
SURVEY_SECONDS = 60
_SURVEYED = "steadyframe:surveyed:"


@contextmanager
def keep_signals() -> Iterator[None]:
    """Give SIGTERM back after `ray.init`, which takes it over in the main thread: a cancel would skip our `finally`."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def connect(address: str | None, cpus: int) -> bool:
    """Join the cluster at `address`, or start one of `cpus` slots; True when we started it.

    Somebody else's cluster on this machine, which Ray would join by itself, is left alone.
    """
    if ray.is_initialized():
        return False
    with keep_signals():
        if address:
            ray.init(address=address, namespace=NAMESPACE, log_to_driver=False, logging_level=logging.ERROR)
            return False
        _lastingly(
            lambda: ray.init(
                address="local",
                num_cpus=cpus,
                namespace=NAMESPACE,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                configure_logging=True,
            )
        )
        return True


def _lastingly(start: Callable[[], object]) -> None:
    """Call `start` in a thread that ends with this process.

    The kernel kills Ray's processes with the *thread* that started them (PR_SET_PDEATHSIG): a cluster that the thread
    of one video started died when the last video was done, and `ray.shutdown` took the driver with it a minute later.
    """
    if threading.current_thread() is threading.main_thread():
        start()
        return
    started: Future[object] = Future()

    def last() -> None:
        try:
            started.set_result(start())
        except BaseException as error:
            started.set_exception(error)
            return
        threading.Event().wait()

    threading.Thread(target=last, name="ray", daemon=True).start()
    started.result()


def wants_gpu(device: str, workers: int) -> bool:
    """Whether workers for `device` take a GPU each: asked for, or `auto` and the cluster has that many."""
    return device.startswith("cuda") or (device == "auto" and ray.cluster_resources().get("GPU", 0) >= workers)


def survey(device: str, workers: int) -> tuple[str, str]:
    """(`cuda` or `cpu`, name of the processor) of the machines that would serve, asked of one of them, once a cluster.

    Loads no model. Errors: DeviceError when no machine answers in time.
    """
    from ray.experimental.internal_kv import _internal_kv_get, _internal_kv_put

    place = "cuda" if wants_gpu(device, workers) else "cpu"
    known = _internal_kv_get(_SURVEYED + place)  # idle gangs may hold every GPU, and then nobody could be asked
    if known:
        return place, str(known.decode())
    # a sliver of what a worker takes: a head without CPUs of its own serves nobody, and may be another machine
    ask = ray.remote(processor_name).options(num_cpus=0.01, num_gpus=0.01 if place == "cuda" else 0)
    try:
        processor = str(ray.get(ask.remote(place), timeout=SURVEY_SECONDS))
    except GetTimeoutError:
        raise DeviceError(
            f"no machine of the Ray cluster said within {SURVEY_SECONDS} s what its processor is; "
            "all are busy, try again later"
        ) from None
    _internal_kv_put(_SURVEYED + place, processor.encode())
    return place, processor


def check_processors(found: Sequence[str], expected: str | None) -> None:
    """Refuse workers on other processors than the one that keys name, or on several: their floats may differ.

    Errors: DeviceError. What was known of the cluster is forgotten then, so that the next run asks anew.
    """
    from ray.experimental.internal_kv import _internal_kv_del

    strange = sorted({*found} - {expected or found[0]}) if found else []
    if not strange:
        return
    for place in ("cuda", "cpu"):
        _internal_kv_del(_SURVEYED + place)
    raise DeviceError(
        f"workers are on machines of several kinds ({', '.join(sorted({*found, expected or found[0]}))}), whose floats "
        f"may differ; keep to one kind of machine in the Ray cluster, or run the same command again if it changed"
    )
