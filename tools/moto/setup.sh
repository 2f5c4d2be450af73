#!/usr/bin/env bash
# Installs the AWS emulator moto into a virtual environment of its own in the cache and prints the path of moto_server as the last line of standard output.
# --path only prints where it is or would be.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"

environment=$(python_environment moto "$@")
echo "$environment/bin/moto_server"
