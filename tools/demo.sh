#!/bin/bash
# The demonstration with the best this machine offers: real hosts as root or by sudo, else the fake driver in one process.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
drover=(.venv/bin/python -m drover.lab.demo)

if [ "$(id -u)" = 0 ]; then
    exec "${drover[@]}" "$@"
elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    exec sudo "${drover[@]}" "$@"
else
    exec "${drover[@]}" --standalone "$@"
fi
