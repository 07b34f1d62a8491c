#!/usr/bin/env bash
# Versions in which up to 100 records went; one of them is asked about, the versions in between were never seen.
source "$(dirname "${BASH_SOURCE[0]}")/sweep.sh"

studies() {
    local data targets=(DT LR) sizes=(1 2 5 10 20 50 100)
    if $SMALL; then targets=(DT) sizes=(1 10 100); fi
    for data in "$ADULT" "$LOCATION"; do
        for target in "${targets[@]}"; do
            for count in "${sizes[@]}"; do
                study $data --original_model "$target" --samples_to_evaluate in_out_multi_version --shadow_unlearning_num "$count" --target_unlearning_num "$count"
            done
        done
    done
}

sweep multi_version "$@"
