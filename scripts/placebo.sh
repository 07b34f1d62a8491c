#!/usr/bin/env bash
# A control of the measurement itself: only strangers are queried, so every attack must end at 0.5.
source "$(dirname "${BASH_SOURCE[0]}")/sweep.sh"
