#!/usr/bin/env bash
# Trees of 2 to 500 leaves and networks of 2 to 30 epochs: attack against the overfitting level of what is attacked.
source "$(dirname "${BASH_SOURCE[0]}")/sweep.sh"

studies() {
    local data leaves=(2 5 20 50 100 500) epochs=(2 5 10 30)
    if $SMALL; then leaves=(2 50 500) epochs=(); fi
    for data in "$ADULT" "$LOCATION"; do
        study $data --attack_model RF
        for count in "${leaves[@]}"; do study $data --attack_model RF --max_leaf_nodes "$count"; done
    done
    for count in "${epochs[@]}"; do
        study $ADULT --attack_model RF --original_model MLPTorch --num_epochs "$count"
    done
}

sweep overfitting "$@"
