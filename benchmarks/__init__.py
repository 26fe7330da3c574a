"""Figures: ratios of paired runs against a peer, with the machine and the versions beside them. `make bench`."""
