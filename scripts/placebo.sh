#!/usr/bin/env bash
# A control of the measurement itself: only strangers are queried, so every attack must end at 0.5.
source "$(dirname "${BASH_SOURCE[0]}")/sweep.sh"

studies() {
    local data targets=(DT LR)
    for data in "$ADULT" "$LOCATION"; do
        for target in "${targets[@]}"; do
            for method in scratch sisa; do
                study $data --original_model "$target" --unlearning_method "$method" --attack_model RF --placebo
            done
        done
    done
}

sweep placebo "$@"
