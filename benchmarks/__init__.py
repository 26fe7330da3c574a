"""Figures: ratios of paired runs against peers and the hardware, with machine and versions beside them. `make bench`."""
