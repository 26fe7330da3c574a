"""
Kernels: what touches every byte, compiled.

Each kernel has a plain Python twin of the same name in `cext.reference`, which is the oracle of its tests. This module
is the only switch between the two. STRONGROOM_KERNELS=compiled or =reference is a demand, not a wish: a kernel that is
not there fails the import. Without it the compiled kernel is taken when it was built.
"""

import os
from typing import Literal

_demand = os.environ.get("STRONGROOM_KERNELS", "")
if _demand not in ("", "compiled", "reference"):
    raise ImportError(f"STRONGROOM_KERNELS={_demand!r}: say compiled or reference")

if _demand == "reference":
    from cext.reference import gear

    implementation: Literal["compiled", "reference"] = "reference"
else:
    try:
        from cext import gear

        implementation = "compiled"
    except ImportError:
        if _demand == "compiled":
            raise
        from cext.reference import gear

        implementation = "reference"

__all__ = ["gear", "implementation"]
