"""
Kinds of data with an API of their own. Each module pair reads one: decisions in one, calls in the other.

A workload turns what the service says changed into rows and parts on a `protocol.Shelf`; it knows neither repository
nor session. docs/workloads.md says what is read, kept and left out.
"""
