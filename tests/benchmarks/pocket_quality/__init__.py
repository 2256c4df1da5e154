"""Is pocket worth looking at? Bars 1 to 4 of its issue, measured by one command; see `__main__`."""
