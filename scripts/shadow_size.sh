#!/usr/bin/env bash
# What the adversary's budget buys: shadow sets, records a set, unlearned models a set.
source "$(dirname "${BASH_SOURCE[0]}")/sweep.sh"

studies() {
    local targets=(DT LR) sets=(1 2 5 10 20) sizes=(250 500 1000 2000 5000) requests=(2 5 10 20 50)
    if $SMALL; then targets=(DT) sets=(1 10) sizes=(500 2000) requests=(5 20); fi
    for target in "${targets[@]}"; do
        for count in "${sets[@]}"; do study $ADULT --original_model "$target" --shadow_set_num "$count"; done
        for count in "${sizes[@]}"; do study $ADULT --original_model "$target" --shadow_set_size "$count"; done
        for count in "${requests[@]}"; do study $ADULT --original_model "$target" --shadow_unlearning_size "$count"; done
    done
}

sweep shadow_size "$@"
