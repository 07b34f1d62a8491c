#!/usr/bin/env bash
# Retraining from scratch: every target family x feature x attack model, against the classical attack.
source "$(dirname "${BASH_SOURCE[0]}")/sweep.sh"
