"""Settings in, experiment out: `python main.py --exp model_train`, then `python main.py --exp mem_inf`."""

from __future__ import annotations

import os
import sys

# Models are trained in parallel processes: more BLAS threads would only get in each other's way.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

import utils
from parameter_parser import settings_or_exit


def main() -> int:
    """Run what the command line asks for; the exit code is 2 after a user's mistake."""
    utils.set_up_logging("warning")
    settings = settings_or_exit()
    utils.set_up_logging(settings.log_level)
    from exp import run_experiment  # after --help and mistakes were answered

    try:
        run_experiment(settings)
    except utils.UserError as error:
        print(f"main.py: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("main.py: interrupted; what was finished is kept", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
