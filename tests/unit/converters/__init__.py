"""Converters to open formats, read back by independent readers."""
