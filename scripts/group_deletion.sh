#!/usr/bin/env bash
# Requests of 1 to 100 records, each record of them asked about.
source "$(dirname "${BASH_SOURCE[0]}")/sweep.sh"
