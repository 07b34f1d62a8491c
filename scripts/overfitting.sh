#!/usr/bin/env bash
# Trees of 2 to 500 leaves and networks of 2 to 30 epochs: attack against the overfitting level of what is attacked.
source "$(dirname "${BASH_SOURCE[0]}")/sweep.sh"
