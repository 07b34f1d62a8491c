"""Folders and constants: no logic."""

from pathlib import Path

PROJECT_DIR = Path(__file__).resolve().parent
TEMP_DATA_DIR = PROJECT_DIR / "temp_data"

# Sub-folders of temp_data.
DATASET = "dataset"
PROCESSED_DATASET = "processed_dataset"
SPLIT_INDICES = "split_indices"
SIDE_MODELS = {"shadow": "shadow_models", "target": "target_models"}
ATTACK_MODELS = "attack_models"
ATTACK_DATA = "attack_data"
REPORT = "attack_data/report"

# Marks the folder of a run that has begun and not ended.
UNFINISHED = "unfinished.json"

# The key that marks cached models as written by this user; kept outside temp_data, so that a copied
# temp_data folder never brings its own authority along.
STATE_DIR_NAME = "unlearning-leakage"

# Raised whenever code changes what a cached file would contain.
CACHE_VERSION = 4

# How the records are divided (REFERENCE section 2).
SHADOW_SHARE = 0.5
POSITIVE_SHARE = 0.8
REPLACEMENT_SHARE = 0.15

# Accuracy of a model is measured on at most this many training and as many held-out records:
# more would cost a forest a noticeable part of its training time.
UTILITY_RECORDS = 1000

# A network's accuracy after each epoch is measured on at most this many held-out records.
CURVE_RECORDS = 250

BOOTSTRAP_RESAMPLES = 2000
CONFIDENCE = 0.95
FPR_LEVELS = (0.001, 0.01, 0.1)
