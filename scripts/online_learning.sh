#!/usr/bin/env bash
# 1 to 100 records exchanged for new ones.
source "$(dirname "${BASH_SOURCE[0]}")/sweep.sh"
