#!/usr/bin/env bash
# All comparisons, then the report. Flags as for each sweep: --small, --seeds 0,1,2, --temp_data DIR.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
start=$SECONDS
folder=temp_data
for ((i = 1; i < $#; i++)); do
    if [ "${!i}" = --temp_data ]; then next=$((i + 1)); folder="${!next}"; fi
done
for name in sisa group_deletion multi_version online_learning shadow_size transfer placebo defense scratch overfitting remaining; do
    PART_OF_ALL=1 bash "scripts/$name.sh" "$@"
done
.venv/bin/python main.py --exp report --temp_data "$folder"
echo "took $(((SECONDS - start) / 60)) min $(((SECONDS - start) % 60)) s"
