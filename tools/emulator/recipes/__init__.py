"""Tenants for tests: every feature once, middling, huge, and everything bad at once."""
