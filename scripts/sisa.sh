#!/usr/bin/env bash
# SISA with 1 to 20 shards.
source "$(dirname "${BASH_SOURCE[0]}")/sweep.sh"

studies() {
    local data targets=(DT LR) shards=(1 2 5 10 20)
    if $SMALL; then targets=(DT) shards=(1 5 20); fi
    for data in "$ADULT" "$LOCATION"; do
        for target in "${targets[@]}"; do
            for count in "${shards[@]}"; do
                study $data --original_model "$target" --unlearning_method sisa --shadow_num_shard "$count" --target_num_shard "$count"
            done
        done
    done
}

sweep sisa "$@"
