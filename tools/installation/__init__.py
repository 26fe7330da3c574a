"""
A whole installation on one machine: private PostgreSQL, private NATS, the server, proxies.

`tools.installation.supervisor.run_installation` is what `strongroom up` calls.
"""
