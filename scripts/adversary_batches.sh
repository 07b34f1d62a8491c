#!/usr/bin/env bash
# How many records must go together before even today's attacks lose them.
source "$(dirname "${BASH_SOURCE[0]}")/sweep.sh"
