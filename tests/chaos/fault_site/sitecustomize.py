"""Python runs this first in child processes of the chaos suite (PYTHONPATH): `fault://` is known there too."""

import fsspec

fsspec.register_implementation("fault", "tests.chaos.faultfs.FaultFileSystem")
