#!/usr/bin/env bash
# The virtual environment .venv with the locked packages. A second call ends at once, unless a lock changed.
#   setup/ensure_env.sh        what the programs need
#   setup/ensure_env.sh dev    what the programs and the tests need
#   setup/ensure_env.sh web    what the programs and the web demo need
#   setup/ensure_env.sh lint   what style checks need
#   setup/ensure_env.sh types  what the programs and pyright need
#   PYTHON=python3.12 setup/ensure_env.sh    with that interpreter
set -euo pipefail
cd "$(dirname "$0")/.."

new_enough() { # interpreter
    command -v "$1" >/dev/null && "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))'
}

kind=${1:-run}
wanted=$(cat setup/locks/*.txt | cksum)
[ -x .venv/bin/python ] && [ "$(cat ".venv/.installed-$kind" 2>/dev/null)" = "$wanted" ] && exit 0

if [ ! -x .venv/bin/python ]; then
    python=${PYTHON:-}
    for candidate in python3 python3.13 python3.12 python3.11; do
        [ -n "$python" ] && break
        if new_enough "$candidate"; then python=$candidate; fi
    done
    if [ -z "$python" ] || ! new_enough "$python"; then
        echo "Python 3.11 or newer is needed; found: $("${python:-python3}" --version 2>&1 || true)." \
            "Install one and name it: make demo PYTHON=python3.11" >&2
        exit 1
    fi
    "$python" -m venv .venv || { echo "making .venv failed; try: sudo apt-get install python3-venv" >&2; exit 1; }
fi

case $kind in
    lint) echo "installing ruff and pyright into .venv (once; 75 MB)" ;;
    *) echo "installing the packages of setup/locks into .venv (once; a few minutes; sizes: docs/install.md)" ;;
esac
bash setup/install_locked.sh "$kind" .venv/bin/python
[ "$kind" = lint ] || echo "$wanted" >.venv/.installed-run
[[ $kind != dev && $kind != types ]] || echo "$wanted" >.venv/.installed-lint
[ "$kind" != dev ] || echo "$wanted" >.venv/.installed-types
echo "$wanted" >".venv/.installed-$kind"

if [ "$kind" != lint ] && command -v nvidia-smi >/dev/null && nvidia-smi >/dev/null 2>&1 &&
    ! .venv/bin/python -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
    echo "note: this machine has an NVIDIA GPU, but the installed torch cannot use it (CPU build or old driver);" \
        "install a CUDA build of $(grep '^torch==' requirements.txt) into .venv to train on the GPU" >&2
fi
