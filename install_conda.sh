#!/usr/bin/env bash
# A conda environment instead of `make`'s .venv:  bash install_conda.sh  (a GPU is used when torch finds one)
#   ENV_NAME=other bash install_conda.sh    another name than diffposetalk
#   bash install_conda.sh dev               and what tests and style checks need
set -euo pipefail
cd "$(dirname "$0")"

name=${ENV_NAME:-diffposetalk}

command -v conda >/dev/null || { echo "conda is not on PATH; install Miniforge, or use make env instead" >&2; exit 1; }
bash setup/ensure_system.sh || echo "continuing: all but rendering works without these libraries" >&2
if ! conda run -n "$name" python --version >/dev/null 2>&1; then
    conda create -y -n "$name" python=3.11 pip
fi
bash setup/install_locked.sh "${1:-run}" conda run -n "$name" --no-capture-output python
conda run -n "$name" python -c 'import torch; print("torch", torch.__version__, "GPU:", torch.cuda.is_available())'
echo "done; next:  conda activate $name && python demo.py"
