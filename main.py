"""Settings in, experiment out: `python main.py --exp model_train`, then `python main.py --exp mem_inf`."""

from __future__ import annotations

import os
import signal
import sys

# Until everything is imported, Ctrl-C has one line to say; a cluster's workers, which import this too, have none.
if __name__ == "__main__" and signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
    signal.signal(signal.SIGINT, lambda number, frame: (os.write(2, b"main.py: interrupted\n"), os._exit(130)))

# Models are trained in parallel processes: more BLAS threads would only get in each other's way.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

os.environ["MPLBACKEND"] = "agg"  # figures are files, whatever the user's windows are drawn with

import utils


def _run() -> int:
    from parameter_parser import parse_settings

    settings = parse_settings(sys.argv[1:])
    utils.set_up_logging(settings.log_level)
    from exp import run_experiment  # after --help and mistakes were answered

    return run_experiment(settings)


def main() -> int:
    """Run what the command line asks for; the exit code is 2 after a user's mistake, and an audit's is its verdict."""
    utils.set_up_logging("warning")
    return utils.run_command("main.py", _run)


if __name__ == "__main__":
    sys.exit(main())
