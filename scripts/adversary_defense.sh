#!/usr/bin/env bash
# Which defenses still help against today's attacks.
source "$(dirname "${BASH_SOURCE[0]}")/sweep.sh"
