"""NATS as the server sees it. Nothing outside this package sees the client library."""
