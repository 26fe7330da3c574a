"""The REST API: one module a resource; the only door for people and programs."""
