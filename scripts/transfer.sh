#!/usr/bin/env bash
# An attack learned on other data or another family than the target's. Data sets of unlike size meet at sets of 500.
source "$(dirname "${BASH_SOURCE[0]}")/sweep.sh"
