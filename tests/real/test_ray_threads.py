"""A cluster that a thread of a video started outlives that thread: the kernel would end Ray's processes with it."""

from __future__ import annotations

import threading
import time

import psutil
import ray

from tasks.engine.cluster import connect


def test_ray_outlives_the_thread_that_started_it() -> None:
    started: list[bool] = []
    thread = threading.Thread(target=lambda: started.append(connect(None, 1)))
    thread.start()
    thread.join()
    try:
        assert started == [True]
        time.sleep(0.5)  # the kernel kills at once
        alive = {p.name() for p in psutil.Process().children(recursive=True) if p.status() != psutil.STATUS_ZOMBIE}
        assert {"gcs_server", "raylet"} <= alive
    finally:
        ray.shutdown()
