#!/usr/bin/env bash
# Everything a change must pass: ruff, mypy, pytest. Arguments go to pytest.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
install_environment requirements.txt requirements-dev.txt
ruff check .
ruff format --check .
mypy
python -m pytest -n auto ${1+"$@"}
