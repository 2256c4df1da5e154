"""Runs a command for as long as its own stdin is open, so that nothing outlives whoever started it, killed or not.

`python -m tests.real.keep [--user NAME] -- COMMAND ...`. Knows nothing of what it runs.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import threading

STOP_SECONDS = 10.0


def main() -> None:
    """Start the command in a session of its own; end it, and all below it, when stdin closes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--user")
    parser.add_argument("command", nargs="+")
    given = parser.parse_args()
    as_user = {"user": given.user, "extra_groups": []} if given.user else {}
    child = subprocess.Popen(given.command, stdin=subprocess.DEVNULL, start_new_session=True, **as_user)
    threading.Thread(target=lambda: os._exit(child.wait() or 1), daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C meant for the tests: they close our stdin in their own time
    sys.stdin.buffer.read()
    child.send_signal(signal.SIGINT)  # PostgreSQL: end sessions and stop; Prefect and ours: as Ctrl-C
    try:
        child.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        pass
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        return


if __name__ == "__main__":
    main()
