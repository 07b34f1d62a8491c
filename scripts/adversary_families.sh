#!/usr/bin/env bash
# Today's attacks on all families and both unlearning methods.
source "$(dirname "${BASH_SOURCE[0]}")/sweep.sh"
