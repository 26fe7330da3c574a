"""
Media that keep named objects.

`protocol` says what a medium must guarantee; `local` and `memory` are drivers; each passes the suite in
tests/contract/test_blob_store.py. `addresses` opens the driver that a REPO text names.
"""
