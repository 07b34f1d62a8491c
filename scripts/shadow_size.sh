#!/usr/bin/env bash
# What the adversary's budget buys: shadow sets, records a set, unlearned models a set.
source "$(dirname "${BASH_SOURCE[0]}")/sweep.sh"
