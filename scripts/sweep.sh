# Sourced by the sweeps: makes the environment, then runs the sweep that the script is named after.
# Flags: --small (a minute or two), --seeds 0,1,2, --temp_data DIR, --dry_run. What is finished is skipped.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
install_environment requirements.txt
exec python main.py --exp sweep --comparison "$(basename "$0" .sh)" ${1+"$@"}
