#!/usr/bin/env bash
# Installs the AWS emulator moto into a virtual environment of its own in the cache, once for each version of requirements.txt and Python,
# and prints the path of moto_server as the last line of standard output. --path only prints where it is or would be.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
source ../common.sh

need python3
key=$(python3 -c 'import hashlib, sys
digest = hashlib.sha256(open("requirements.txt", "rb").read()).hexdigest()
print(f"{digest[:16]}-python{sys.version_info[0]}.{sys.version_info[1]}")')
environment=$cache_root/moto/$key

if [ "${1:-}" != --path ] && ! [ -e "$environment/complete" ]; then
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' || fail "moto needs Python 3.10 or newer, and python3 is $(python3 --version)"
    python3 -c 'import ensurepip, venv' 2>/dev/null || fail "python3 lacks its venv module (on Debian and Ubuntu: apt-get install python3-venv)"
    lock moto
    if ! [ -e "$environment/complete" ]; then
        # Its scripts hold its path, so it cannot be renamed into place: the file `complete` says that it is whole.
        rm -rf "$environment"
        mkdir -p "$environment"
        with_progress "creating a virtual environment for moto" python3 -m venv "$environment"
        with_progress "installing moto into $environment" \
            nice "$environment/bin/python" -m pip install --disable-pip-version-check --no-input --require-hashes -r requirements.txt
        touch "$environment/complete"
    fi
fi
echo "$environment/bin/moto_server"
