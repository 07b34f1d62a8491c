"""Folders and defaults of the command line: no logic."""

from pathlib import Path

PROJECT_DIR = Path(__file__).resolve().parent
TEMP_DATA_DIR = PROJECT_DIR / "temp_data"
