#!/bin/bash
# Installs what is missing and nothing else: Debian packages of bindep.txt (as root or by sudo), and a virtual environment in .venv.
#
#   usage: tools/bootstrap.sh
#
# Fast when all is there. Asks nothing and starts no service. Where packages cannot be installed it says so and goes on:
# everything that needs none of them still works (drover standalone, the unit and functional tests).
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
readonly VENV=.venv
readonly EXTRAS=test,lint,types,dev
readonly POLICY=/usr/sbin/policy-rc.d

say() { echo "bootstrap: $*" >&2; }

missing_packages() {
    local wanted
    mapfile -t wanted < <(sed -n 's/^\([a-z0-9][a-z0-9.+-]*\).*/\1/p' bindep.txt)
    comm -23 <(printf '%s\n' "${wanted[@]}" | sort) <(installed_of "${wanted[@]}")
}

# dpkg-query fails when it does not know one of them, and answers for the others.
installed_of() {
    { dpkg-query -W -f '${db:Status-Status} ${Package}\n' "$@" 2>/dev/null || true; } | sed -n 's/^installed //p' | sort
}

# Debian starts what it installs; this one file tells it not to, for as long as the installation takes.
keep_services_down() {
    [ ! -e $POLICY ] || return 0
    printf '#!/bin/sh\nexit 101\n' | "${AS_ROOT[@]}" tee $POLICY >/dev/null
    "${AS_ROOT[@]}" chmod 755 $POLICY
    trap '"${AS_ROOT[@]}" rm -f $POLICY' EXIT
}

apt_install() {
    local options=(-qq -y --no-install-recommends -o Dpkg::Use-Pty=0)
    keep_services_down
    say "installing by apt: $*"
    if ! apt-cache show "$@" >/dev/null 2>&1; then "${AS_ROOT[@]}" apt-get -qq update; fi
    local install=("${AS_ROOT[@]}" env DEBIAN_FRONTEND=noninteractive apt-get "${options[@]}" install "$@")
    # A list that has aged names files that are gone.
    "${install[@]}" >&2 || { "${AS_ROOT[@]}" apt-get -qq update && "${install[@]}" >&2; }
}

install_packages() {
    local missing
    if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
        say "no apt here: install by hand what bindep.txt lists; going on with what is there"
        return 0
    fi
    mapfile -t missing < <(missing_packages)
    [ ${#missing[@]} -gt 0 ] || return 0
    AS_ROOT=()
    if [ "$(id -u)" != 0 ]; then
        if ! command -v sudo >/dev/null || ! sudo -n true 2>/dev/null; then
            say "missing ${missing[*]}; neither root nor sudo without a password: going on without them"
            return 0
        fi
        AS_ROOT=(sudo)
    fi
    apt_install "${missing[@]}" || say "apt failed; going on with what is there"
}

python_of_ours() {
    local candidate
    for candidate in python3.11 python3 python3.12 python3.13; do
        if "$candidate" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return 0
        fi
    done
    say "no Python 3.11 or newer with its venv module (Debian: python3-venv)"
    return 1
}

make_venv() {
    local python version extras=$EXTRAS stamp
    python=$(python_of_ours)
    version=$("$python" -VV)
    if pkg-config --exists libvirt 2>/dev/null; then
        extras=libvirt,$extras
    else
        say "no libvirt-dev: going on without the libvirt driver"
    fi
    stamp="$version $extras $PWD $(sha256sum <pyproject.toml)"
    [ "$(cat $VENV/stamp 2>/dev/null)" != "$stamp" ] || return 0
    say "making the virtual environment $VENV"
    # Made anew only for another Python: what runs in it, runs on while packages are added.
    [ "$($VENV/bin/python -VV 2>/dev/null)" = "$version" ] || "$python" -m venv --clear $VENV
    $VENV/bin/pip install --quiet --disable-pip-version-check -e ".[$extras]"
    echo "$stamp" >$VENV/stamp
}

install_packages
make_venv
