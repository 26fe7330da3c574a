#!/usr/bin/env bash
# Gets the peers into the user's cache, nothing into the system but Debian's headers for borg:
#   restic  Debian's packages of SUITES, downloaded with a package list of its own and unpacked
#   borg    1.4 from PyPI, built in a virtual environment of its own
# What cannot be had is said loudly; the benchmarks go on without it.
set -euo pipefail
SUITES=${SUITES:-sid trixie}
PYTHON=${PYTHON:-python3}
place=${XDG_CACHE_HOME:-$HOME/.cache}/strongroom-bench
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
mkdir -p "$place"
log=$(mktemp)
trap 'rm -f "$log"' EXIT

loud() { printf '\n*** %s\n\n' "$*" >&2; }

unpack_restic() { # unpack_restic DEB NAME: keeps it only if it runs on this machine
    local folder
    folder=$(mktemp -d "$place/unpack.XXXX")
    dpkg-deb -x "$1" "$folder"
    if "$folder/usr/bin/restic" version >/dev/null 2>&1; then
        rm -rf "$place/restic-$2"
        mv "$folder" "$place/restic-$2"
    else
        rm -rf "$folder"
        return 1
    fi
}

restic_of() { # restic_of SUITE
    local own apt
    [ -x "$place/restic-$1/usr/bin/restic" ] && return 0
    [ -r "$keyring" ] || return 1
    own=$place/apt-$1
    mkdir -p "$own"/{lists/partial,archives/partial,parts}
    echo "deb [signed-by=$keyring] http://deb.debian.org/debian $1 main" >"$own/sources.list"
    apt=(apt-get -q -o "Dir::Etc::SourceList=$own/sources.list" -o "Dir::Etc::SourceParts=$own/parts"
        -o "Dir::State::Lists=$own/lists" -o "Dir::Cache=$own" -o "Dir::Cache::Archives=$own/archives"
        -o Acquire::Languages=none -o "APT::Sandbox::User=$(id -un)")
    "${apt[@]}" update && (cd "$own" && "${apt[@]}" download "restic/$1") && unpack_restic "$own"/restic_*.deb "$1"
    local status=$?
    rm -rf "$own"
    return $status
}

restic_of_this_release() {
    local folder
    [ -x "$place/restic-installed/usr/bin/restic" ] && return 0
    folder=$(mktemp -d "$place/unpack.XXXX")
    (cd "$folder" && apt-get -q download restic) && unpack_restic "$folder"/restic_*.deb installed
    local status=$?
    rm -rf "$folder"
    return $status
}

borg_headers() {
    local missing=() sudo=()
    for package in libacl1-dev libssl-dev liblz4-dev libzstd-dev libxxhash-dev pkg-config gcc; do
        dpkg -s "$package" >/dev/null 2>&1 || missing+=("$package")
    done
    [ ${#missing[@]} -eq 0 ] && return 0
    [ "$(id -u)" = 0 ] || sudo=(sudo -n)
    "${sudo[@]}" apt-get -q update && "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get -q install -y --no-install-recommends "${missing[@]}"
}

borg() {
    [ -x "$place/borg/bin/borg" ] && return 0
    borg_headers && "$PYTHON" -m venv "$place/borg" &&
        "$place/borg/bin/python" -m pip install --disable-pip-version-check 'borgbackup==1.4.*' &&
        "$place/borg/bin/borg" --version
}

attempt() { # attempt WHAT COMMAND...: true if it worked; its last words if not
    local what=$1
    shift
    echo "getting $what ..." >&2
    # called as a condition: each function joins its commands by && or checks them
    if ! "$@" >"$log" 2>&1; then
        loud "cannot be had: $what"
        tail -5 "$log" >&2
        return 1
    fi
}

have_restic=
for suite in $SUITES; do
    attempt "restic of Debian $suite" restic_of "$suite" && have_restic=yes
done
if [ -z "$have_restic" ] && ! attempt "restic of this release" restic_of_this_release; then
    loud "NO RESTIC of a known version: what is on PATH, if anything, is the peer"
fi
attempt "borg 1.4 (built here, takes a minute)" borg || loud "NO BORG: no pairs against it"
exit 0
