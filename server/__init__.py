"""
People and time: organizations, jobs, sessions, pools, rights, audit.

job      saved rule: what, when, where to
session  one run of a job, with outcomes
pool     proxies that share work and budget

The server never opens a repository and never talks to Microsoft 365: both are the proxies' work.
"""
