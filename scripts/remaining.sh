#!/usr/bin/env bash
# Records that stay in both models: can they be told from strangers?
source "$(dirname "${BASH_SOURCE[0]}")/sweep.sh"
