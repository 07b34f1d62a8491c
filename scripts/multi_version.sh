#!/usr/bin/env bash
# Versions in which up to 100 records went; one of them is asked about, the versions in between were never seen.
source "$(dirname "${BASH_SOURCE[0]}")/sweep.sh"
