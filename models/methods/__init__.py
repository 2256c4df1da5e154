"""One file per method: each assembles a `models.sampling.Program` from the parts of `models`."""
