#!/usr/bin/env bash
# What each defense leaves to the attack, and what it costs: top-k, label only, temperature, DP-SGD.
source "$(dirname "${BASH_SOURCE[0]}")/sweep.sh"

studies() {
    local data targets=(DT LR) temperatures=(0.5 1 2 5 10) noise=(0.5 2 10)
    if $SMALL; then targets=(DT) temperatures=(0.5 10) noise=(); fi
    for data in "$ADULT" "$LOCATION"; do
        for target in "${targets[@]}"; do
            study $data --original_model "$target" --attack_model RF
            for k in 1 2 3 0; do study $data --original_model "$target" --attack_model RF --top_k "$k"; done
            for degree in "${temperatures[@]}"; do
                study $data --original_model "$target" --attack_model RF --temperature "$degree"
            done
        done
    done
    local network="--original_model LRTorch --num_epochs 10 --batch_size 256 --attack_model RF"
    if $SMALL; then
        network+=" --shadow_set_num 3 --target_set_num 3 --shadow_unlearning_size 5 --target_unlearning_size 5"
        noise=(2)
    fi
    study $ADULT $network
    for sigma in "${noise[@]}"; do study $ADULT $network --is_dp_defense true --sigma "$sigma"; done
}

sweep defense "$@"
