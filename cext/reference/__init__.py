"""Readable twins of the kernels: slow, right, never optimised."""
