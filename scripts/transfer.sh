#!/usr/bin/env bash
# An attack learned on other data or another family than the target's. Data sets of unlike size meet at sets of 500.
source "$(dirname "${BASH_SOURCE[0]}")/sweep.sh"

studies() {
    local targets=(DT LR) families=(DT LR RF MLP LRTorch) nine=(synthetic) two=("adult income")
    if $SMALL; then targets=(DT) families=(DT LR); fi
    if $REAL_LOCATION; then nine+=(foursquare foursquare_5); fi
    if compgen -G "$FOLDER/dataset/US_Accidents*" > /dev/null; then two+=("accident severity"); fi
    local sizes="--shadow_set_size 500 --target_set_size 500"
    for target in "${targets[@]}"; do
        for shadow in "${nine[@]}"; do
            for label in "${nine[@]}"; do
                study --dataset_name location --original_label "$label" --shadow_original_label "$shadow" --original_model "$target" $sizes
            done
        done
        for shadow in "${two[@]}"; do
            for data in "${two[@]}"; do
                if [ ${#two[@]} -gt 1 ]; then
                    study --dataset_name ${data% *} --original_label ${data#* } --shadow_dataset_name ${shadow% *} --shadow_original_label ${shadow#* } --original_model "$target"
                fi
            done
        done
    done
    for shadow in "${families[@]}"; do
        for target in "${families[@]}"; do
            local epochs=""
            if [[ "$shadow $target" == *LRTorch* ]]; then epochs="--num_epochs 60"; fi
            study $ADULT --shadow_original_model "$shadow" --original_model "$target" $epochs
        done
    done
}

sweep transfer "$@"
