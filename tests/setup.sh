#!/usr/bin/env bash
# Makes the virtual environment with everything the tests need, on a fresh Debian or Ubuntu machine: tests/setup.sh DIRECTORY
set -euo pipefail
cd "$(dirname "$0")/.."
directory=$1

missing=()
command -v ssh >/dev/null && [ -x /usr/sbin/sshd ] || missing+=(openssh-client openssh-server)
python3 -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || missing+=(python3 python3-venv)
command -v git >/dev/null || missing+=(git)
if [ ${#missing[@]} -gt 0 ]; then
    if [ "$(id -u)" != 0 ]; then
        echo "missing: ${missing[*]}. Install them, or run this as root." >&2
        exit 1
    fi
    echo "installing ${missing[*]} ..." >&2
    export DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1
    apt-get update -q </dev/null >/dev/null
    # policy-rc.d: the tests start sshd processes of their own; the machine needs no daemon running.
    if [ ! -e /usr/sbin/policy-rc.d ]; then
        trap 'rm -f /usr/sbin/policy-rc.d' EXIT
        printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
        chmod 755 /usr/sbin/policy-rc.d
    fi
    apt-get install -y -q --no-install-recommends "${missing[@]}" </dev/null >/dev/null
fi

echo "preparing $directory ..." >&2
[ -x "$directory/bin/python" ] || python3 -m venv "$directory"
"$directory/bin/python" -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
"$directory/bin/python" -c 'import nornir, paramiko, pytest' || { echo "pip could not install the dependencies" >&2; exit 1; }
