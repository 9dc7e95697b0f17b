#!/usr/bin/env bash
# System libraries that pip cannot install: OpenGL for rendering without a screen. Nothing happens if they are there.
# As root on Debian or Ubuntu they are installed; otherwise the command to run is printed, and the exit code is 1.
set -euo pipefail

packages=()

# As first argument, --python: also what making .venv needs; --only-python: no more than that.
has_library() { # soname
    [[ "$(PATH="$PATH:/sbin:/usr/sbin" ldconfig -p 2>/dev/null)" == *"$1"* ]] || ls /usr/lib/*/"$1"* /usr/lib64/"$1"* /usr/lib/"$1"* >/dev/null 2>&1
}

needs() { # soname, Debian package
    has_library "$1" || packages+=("$2")
}

if [ "$(uname -s)" != Linux ]; then
    [ "${1:-}" = --only-python ] || echo "not Linux: rendering needs EGL, OpenGL and their drivers; install them yourself" >&2
    exit 0
fi

if [ "${1:-}" != --only-python ]; then
    needs libEGL.so.1 libegl1
    needs libGL.so.1 libgl1
    needs libXrender.so.1 libxrender1
fi
# Debian splits what makes virtual environments off python3.
if [[ "${1:-}" == *python ]] && [ ! -x .venv/bin/python ] && ! "${PYTHON:-python3}" -c 'import ensurepip, venv' >/dev/null 2>&1; then
    packages+=(python3-venv)
fi

[ ${#packages[@]} -eq 0 ] && exit 0

command="apt-get install -y --no-install-recommends ${packages[*]}"
if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
    echo "installing system packages: ${packages[*]}"
    export DEBIAN_FRONTEND=noninteractive
    # the package lists may be missing or old: fetch them only when the first try fails
    $command >/dev/null 2>&1 || { apt-get update -q >/dev/null && $command >/dev/null; }
else
    echo "system libraries are missing; run:  sudo apt-get update && sudo $command" >&2
    exit 1
fi
