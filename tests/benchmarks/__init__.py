"""Figures, as ratios of things measured side by side in one run. Never asserted on; `make bench` prints them."""
