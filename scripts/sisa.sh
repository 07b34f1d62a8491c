#!/usr/bin/env bash
# SISA with 1 to 20 shards.
source "$(dirname "${BASH_SOURCE[0]}")/sweep.sh"
