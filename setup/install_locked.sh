#!/usr/bin/env bash
# Installs the packages of setup/locks/, whose hashes pip compares, for an interpreter:
#   setup/install_locked.sh run .venv/bin/python     (or dev, web, lint, types)
set -euo pipefail
cd "$(dirname "$0")/.."
kind=$1
shift
pip=("$@" -m pip --disable-pip-version-check -qq)

# Each lock is complete, so pip has nothing to resolve.
install() {
    "${pip[@]}" install --no-deps --require-hashes "$@"
}

# torch as pinned. A build with a label (2.13.0+cpu) was chosen, by hand or by where pip is set up to look: it stays, and
# no lock knows its hash. One without a label comes from the public registry, with the packages that it was built for.
install_torch() { # interpreter
    local wanted found
    wanted=$(sed -n 's/^torch==//p' requirements.txt)
    found=$("$@" -c 'import importlib.metadata as m; print(m.version("torch"))' 2>/dev/null || true)
    folder=$(mktemp -d "${TMPDIR:-/tmp}/torch.XXXXXX")
    trap 'rm -rf "$folder"' EXIT
    if [ "${found%%+*}" != "$wanted" ]; then
        "${pip[@]}" download --no-deps -d "$folder" "torch==$wanted"
        found=$(basename "$folder"/torch-*.whl | cut -d- -f2)
        [[ $found != *+* ]] || "${pip[@]}" install "$folder"/torch-*.whl
    fi
    [[ $found == *+* ]] || install --find-links "$folder" -r setup/locks/torch.txt
}

# Tests compile the kernels without a GPU, and pyright checks them: beside a torch that names no Triton, the lock's.
install_triton() { # interpreter
    ! "$@" -c 'import importlib.metadata as m; assert any(r.startswith("triton") for r in m.requires("torch"))' 2>/dev/null ||
        return 0
    awk '/^[a-z]/ { keep = /^triton==/ } keep' setup/locks/torch.txt >"$folder/triton.txt"
    install -r "$folder/triton.txt"
}

case $kind in
    run) install -r setup/locks/run.txt ;;
    dev | web) install -r setup/locks/run.txt -r "setup/locks/$kind.txt" ;;
    lint) install -r setup/locks/lint.txt ;;
    types) install -r setup/locks/run.txt && install -r setup/locks/lint.txt ;;
    *) echo "$kind: must be run, dev, web, lint or types" >&2 && exit 2 ;;
esac
[ "$kind" = lint ] || install_torch "$@"
[[ $kind != dev && $kind != types ]] || install_triton "$@"
