"""
The stand-alone reader: gets a repository back without the product.

Written from `docs/format.md` alone; imports nothing of ours, keeps no cache and never writes into the repository. Needs Python
3.11 or newer and blake3, cryptography (with OpenSSL 3.2 or newer, for Argon2id), zstandard and pyarrow. Read the modules in
this order, each with its section of the page beside it: `folder` (Objects), `keys`, `recovery`, `keyfile` (Keys), `sealing`
(Header, Sealing), `packs` (Frames, Packs), `index` (Runs), `content` (Parts), `state` (Commit, Manifests, Restore points),
`catalog` (Catalogs); then `trees` and `items`, what is written to the destination.
"""
