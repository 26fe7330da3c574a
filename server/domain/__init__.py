"""Decisions of the server as pure functions: sessions, tasks, access, the audit chain."""
