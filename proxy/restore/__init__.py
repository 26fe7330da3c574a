"""
Giving a restore point back to Microsoft 365: plan, journal, and one restorer for each workload
(docs/decisions/0024-restores.md).
"""
