"""The tiny random model of the model tests, for the oracles that need the whole loop."""

from tests.unit.models.conftest import one_thread, tiny_sd

__all__ = ["one_thread", "tiny_sd"]
