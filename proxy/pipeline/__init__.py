"""
Tasks: what a proxy does with Microsoft 365 on one side and a repository on the other.

`plane` is all of it as one part; `tasks` does what the server hands out, `backup` reads an object and workload into a
slice, `standalone` runs a session without a server; `export`, `archive` and `questions` give data back.
"""
