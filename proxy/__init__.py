"""
Microsoft 365: reading it, turning it into items and parts, and giving them back.

workload          kind of data with its own API: mail, drives
protected object  user, group, site whose data is kept
container / item / part   folder / smallest restorable thing / its bodies and attachments
task              unit of a session leased to one proxy
outcome           value for one item: stored, unchanged, removed, skipped (closed list of causes), failed

`proxy.contract` is all that the server knows of this package.
"""
