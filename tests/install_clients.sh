#!/usr/bin/env bash
# Installs the Graph clients that run unmodified against the emulator, in an environment of their own below
# tests/clients, as its lock file says. To pin anew (needs uv):
#   uv pip compile --python-version 3.11 --no-header --no-annotate --no-emit-index-url --generate-hashes \
#       -q tests/clients/requirements.in -o tests/clients/requirements.txt
set -euo pipefail
cd "$(dirname "$0")/clients"
installed=.venv/.installed
if [ ! -e $installed ] || [ requirements.txt -nt $installed ]; then
    echo "installing msgraph-sdk and O365 for the tests ..." >&2
    "${PYTHON:-python3}" -m venv .venv
    .venv/bin/python -m pip install -q --disable-pip-version-check --no-compile --require-hashes -r requirements.txt >&2
    touch $installed
fi
