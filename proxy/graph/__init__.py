"""
Microsoft Graph as the proxy sees it: one way in (`service`), one HTTP module (`transport`), one table of faults.

`service.GraphService(settings, version)` is what all tasks of an organization share: connections, token, budget.
`GraphService.client()` gives a task a `client.GraphClient` of its own, with a meter of what it spent.
"""
