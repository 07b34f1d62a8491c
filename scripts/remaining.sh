#!/usr/bin/env bash
# Records that stay in both models: can they be told from strangers?
source "$(dirname "${BASH_SOURCE[0]}")/sweep.sh"

studies() {
    local data targets=(DT LR "MLPTorch --num_epochs 30")
    if $SMALL; then targets=(DT LR); fi
    for data in "$ADULT" "$LOCATION"; do
        for target in "${targets[@]}"; do
            for method in scratch sisa; do
                study $data --original_model $target --unlearning_method "$method" --samples_to_evaluate in_in
            done
        done
    done
}

sweep remaining "$@"
