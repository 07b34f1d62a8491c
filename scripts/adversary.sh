#!/usr/bin/env bash
# What today's adversary needs: own models, questions, versions, labels, against what is published; one matrix.
source "$(dirname "${BASH_SOURCE[0]}")/sweep.sh"
