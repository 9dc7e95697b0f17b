#!/usr/bin/env bash
# Writes setup/locks/ from requirements*.txt, for every platform and Python 3.11 or newer. Needs uv on PATH.
#   run.txt    what the programs need, except torch
#   torch.txt  torch as in the public registry, which on Linux is the CUDA build, and the packages that only it needs
#   dev.txt, web.txt    what these add to run.txt; lint.txt and pipecat.txt stand alone
set -euo pipefail
cd "$(dirname "$0")/.."

compile() {
    uv pip compile -q --universal --generate-hashes --python-version 3.11 --no-header --no-annotate "$@"
}

torch_only='/^[a-z]/ { torch = /^(torch|triton|nvidia-[a-z0-9-]+|cuda-[a-z-]+)==/ }'
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
compile requirements.txt >"$work/all.txt"
for kind in dev web; do # first lines of packages that the programs need already are left out with their hashes
    compile "requirements-$kind.txt" -c "$work/all.txt" |
        awk 'NR == FNR { seen[$0]; next } /^[a-z]/ { new = !($0 in seen) } new' "$work/all.txt" - >"setup/locks/$kind.txt"
done
for kind in lint pipecat; do
    compile "requirements-$kind.txt" >"setup/locks/$kind.txt"
done
awk "$torch_only torch" "$work/all.txt" >setup/locks/torch.txt
awk "$torch_only !torch" "$work/all.txt" >setup/locks/run.txt
