#!/usr/bin/env bash
# What each defense leaves to the attack, and what it costs: top-k, label only, temperature, DP-SGD.
source "$(dirname "${BASH_SOURCE[0]}")/sweep.sh"
