"""Files of any bytes through probe and decode, in a guarded process: `python -m tests.fuzz --count 1000`."""
