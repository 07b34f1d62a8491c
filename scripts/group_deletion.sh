#!/usr/bin/env bash
# Requests of 1 to 100 records, each record of them asked about.
source "$(dirname "${BASH_SOURCE[0]}")/sweep.sh"

studies() {
    local data targets=(DT LR) sizes=(1 2 5 10 20 50 100)
    if $SMALL; then targets=(DT) sizes=(1 10 100); fi
    for data in "$ADULT" "$LOCATION"; do
        for target in "${targets[@]}"; do
            for count in "${sizes[@]}"; do
                study $data --original_model "$target" --samples_to_evaluate in_out --shadow_unlearning_num "$count" --target_unlearning_num "$count"
            done
        done
    done
}

sweep group_deletion "$@"
