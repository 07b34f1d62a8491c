"""What installs a package that an installation lacks."""

from __future__ import annotations

_CORE = {
    "numpy",
    "scipy",
    "sklearn",
    "scikit-learn",
    "joblib",
    "pandas",
    "matplotlib",
    "jinja2",
    "markupsafe",
    "yaml",
    "tqdm",
    "psutil",
    "threadpoolctl",
    "filelock",
    "platformdirs",
    "pooch",
    "requests",
}
_NETWORKS = {"torch", "torchvision", "opacus", "safetensors"}
_COMMANDS = {
    **dict.fromkeys(_CORE, "source .venv/bin/activate, or python -m pip install -r requirements-core.txt"),
    **dict.fromkeys(_NETWORKS, "python -m pip install -r requirements.txt"),
    **dict.fromkeys(("sklearnex", "scikit-learn-intelex"), "python -m pip install scikit-learn-intelex"),
    "pyarrow": "python -m pip install pyarrow",
    "distributed": 'python -m pip install "dask[distributed]"',
    "dask_jobqueue": "python -m pip install dask-jobqueue",
    "erasus": "python -m pip install --no-deps erasus",
    **dict.fromkeys(
        ("supreme", "supreme-unlearning"),
        "python -m pip install --no-deps supreme-unlearning, and python -m pip install lightning wandb debugpy",
    ),
    "mpi4py": "python -m pip install mpi4py, and an MPI (conda, apt, or python -m pip install mpich)",
}


def installed_by(module: str) -> str | None:
    """The command for a module or a distribution; None for what is none of this project's."""
    return _COMMANDS.get(module.partition(".")[0])
