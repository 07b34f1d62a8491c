#!/usr/bin/env bash
# Retraining from scratch: every target family x feature x attack model, against the classical attack.
source "$(dirname "${BASH_SOURCE[0]}")/sweep.sh"

studies() {
    local data targets=(DT LR RF MLP "LRTorch --num_epochs 60" "MLPTorch --num_epochs 30") attacks=(DT LR RF MLP)
    if $SMALL; then targets=(DT LR); fi
    for data in "$ADULT" "$LOCATION"; do
        for target in "${targets[@]}"; do
            for attack in "${attacks[@]}"; do study $data --original_model $target --attack_model "$attack"; done
        done
    done
}

sweep scratch "$@"
