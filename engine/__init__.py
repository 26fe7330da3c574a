"""
Bytes and formats, and nothing else: no file, socket, clock, thread or randomness.

chunk      content-defined span of a part, with a keyed id; the unit of deduplication
frame      chunks compressed and sealed together; the unit of reading
pack       immutable object of frames with a sealed directory
run        sorted list of chunk locations; all runs named by the state are the index
manifest   what one commit holds: entries, Merkle root, signature; the only commit point
catalog    browsable rows of one protected object and workload
"""
