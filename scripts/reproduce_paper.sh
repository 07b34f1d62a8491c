#!/usr/bin/env bash
# All comparisons, then the report. Flags as for each sweep: --small, --seeds 0,1,2, --temp_data DIR, --dry_run.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
install_environment requirements.txt
exec python main.py --exp sweep ${1+"$@"}
