#!/usr/bin/env bash
# What retraining shares with the original: matched, shared, fresh; networks, forests, trees.
source "$(dirname "${BASH_SOURCE[0]}")/sweep.sh"
