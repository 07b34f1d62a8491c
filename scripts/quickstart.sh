#!/usr/bin/env bash
# From a fresh clone to the first result: environment, models on Adult, attack, table. Run again, it reuses everything.
# With --networks first, PyTorch is installed as well; all other flags go to main.py.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
requirements=requirements-core.txt
if [ "${1:-}" = --networks ]; then
    requirements=requirements.txt
    shift
fi
install_environment "$requirements"
python main.py --exp all ${1+"$@"}
