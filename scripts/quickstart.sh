#!/usr/bin/env bash
# From a fresh clone to the first result: environment, models on Adult, attack, table. Run again, it reuses everything.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
install_environment requirements.txt
python main.py --exp model_train "$@"
python main.py --exp mem_inf "$@"
