"""Bar 1 at full size: `python -m tests.real.bar1` runs `test_library` with 40 generated videos and the real ones."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.real.nights import Nights


class Figures:
    """Prints what the nights came to, once they are over."""

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[object]) -> object:
        """See the class."""
        made = yield
        if isinstance(made, Nights):
            for name in ("first", "second", "replayed", "nothing", "third"):
                told = getattr(made, name)
                steps, facts = told.result["window_steps"], told.result.get("library", {})
                counts = {k: facts[k] for k in ("videos", "computed", "reused", "dead", "most_in_flight") if k in facts}
                print(f"\n{name:9} exit {told.code} {told.result['status']:10} {told.seconds:6.1f} s  {counts} {steps}")
            for name, (kind, message) in made.first.errors().items():
                print(f"  {name}: {kind}: {message}")
        return made


def main() -> int:
    """Run it."""
    os.environ["STEADYFRAME_BAR1_CLIPS"] = "40"
    here = Path(__file__).with_name("test_library.py")
    return int(pytest.main(["-q", "-s", "--timeout=3000", str(here)], plugins=[Figures()]))


if __name__ == "__main__":
    sys.exit(main())
