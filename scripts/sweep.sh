# Sourced by the sweeps: makes the environment, then runs the sweep that the script is named after.
# Flags: --small (a minute or two), --seeds 0,1,2, --temp_data DIR, --dry_run. What is finished is skipped.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
requirements=requirements.txt
case " $* " in *" --help "* | *" -h "* | *" --dry_run "*) requirements=requirements-core.txt ;; esac
install_environment "$requirements"
exec python main.py --exp sweep --comparison "$(basename "$0" .sh)" ${1+"$@"}
