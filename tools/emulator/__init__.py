"""
A local Microsoft 365: Entra ID token endpoint and Microsoft Graph v1.0 on loopback.

It shares no code and no model with the product, so that the two cannot share one
misunderstanding. `docs/emulator.md` says how to run it and what it leaves out.

Glossary: a *tenant* holds *users*; a user has a *mailbox* and a *drive*. A *recipe* makes a tenant
from a seed. The *ledger* keeps what clients did; a *breach* is a rule of the service they broke.
"""

from tools.emulator.options import EmulatorOptions
from tools.emulator.serve import Emulator, serve

__all__ = ["Emulator", "EmulatorOptions", "serve"]
