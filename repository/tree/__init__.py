"""
Directory trees: `import` and `export`.

A tree is one protected object of kind "tree" with one workload "tree". Row ids are paths relative to the root, as bytes,
because names need not be UTF-8; the root itself is ".".
"""

KIND = "tree"
WORKLOAD = "tree"
ROOT = b"."
