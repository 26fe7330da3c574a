"""
Kernels: what touches every byte, compiled.

Each kernel has a plain Python twin of the same name in `cext.reference`, which is the oracle of its tests. This module
is the only switch between the two. STRONGROOM_KERNELS=compiled or =reference is a demand, not a wish: a kernel that is
not there fails the import. Without it the compiled kernel is taken when it was built.
"""

import importlib
import os
from types import ModuleType
from typing import Literal

_demand = os.environ.get("STRONGROOM_KERNELS", "")
if _demand not in ("", "compiled", "reference"):
    raise ImportError(f"STRONGROOM_KERNELS={_demand!r}: say compiled or reference")

implementation: Literal["compiled", "reference"]


def _kernel(name: str) -> ModuleType:
    """The kernel `name`: compiled unless the twin is demanded, or all there is and not ruled out."""
    if _demand != "reference":
        try:
            return importlib.import_module(f"cext.{name}")
        except ImportError:
            if _demand == "compiled":
                raise
    return importlib.import_module(f"cext.reference.{name}")


digest = _kernel("digest")
filebatch = _kernel("filebatch")
gear = _kernel("gear")
mime = _kernel("mime")
parity = _kernel("parity")
runs = _kernel("runs")
spans = _kernel("spans")
implementation = "reference" if gear.__name__.startswith("cext.reference") else "compiled"

__all__ = ["digest", "filebatch", "gear", "implementation", "mime", "parity", "runs", "spans"]
