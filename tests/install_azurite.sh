#!/usr/bin/env bash
# Installs the Azure storage emulator of the tests below tests/azurite, as its lock file says.
set -euo pipefail
cd "$(dirname "$0")/azurite"
installed=node_modules/.installed
if [ ! -e $installed ] || [ package-lock.json -nt $installed ]; then
    echo "installing azurite for the tests ..." >&2
    npm ci --no-fund --no-audit --ignore-scripts --loglevel=error >&2
    touch $installed
fi
