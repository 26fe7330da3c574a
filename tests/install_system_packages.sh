#!/usr/bin/env bash
# Installs what the tests need from Debian's packages, when root or sudo is there; else says what is missing.
set -euo pipefail
missing=()
command -v chromium >/dev/null || missing+=(chromium)
compgen -G "/usr/lib/postgresql/*/bin/postgres" >/dev/null || missing+=(postgresql)
command -v npm >/dev/null || missing+=(nodejs npm)
[ ${#missing[@]} -eq 0 ] && exit 0
if [ "$(id -u)" = 0 ]; then sudo=(); elif sudo -n true 2>/dev/null; then sudo=(sudo); else
    echo "tests need these Debian packages: ${missing[*]} (install them, e.g. apt-get install ${missing[*]})" >&2
    exit 1
fi
log=$(mktemp)
echo "installing ${missing[*]} for the tests ..." >&2
if ! { "${sudo[@]}" apt-get update && "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
    tail -20 "$log" >&2
    exit 1
fi
