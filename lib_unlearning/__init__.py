"""Library of the project; `main.py` is the research command line around it."""

__version__ = "0.2.0"
