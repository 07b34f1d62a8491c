# Sourced by the sweeps. A sweep defines `studies`, which calls `study FLAGS` for each setting, and then calls
#     sweep NAME "$@"
# Flags of every sweep: --small (a minute or two), --seeds 0,1,2, --temp_data DIR. What is finished is skipped.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

sweep() {
    local name="$1" seeds=""
    FOLDER="temp_data"
    SMALL=false
    shift
    while [ $# -gt 0 ]; do
        case "$1" in
            --small) SMALL=true ;;
            --seeds) seeds="${2:?--seeds needs a value}"; shift ;;
            --temp_data) FOLDER="${2:?--temp_data needs a value}"; shift ;;
            *) echo "scripts/$name.sh: error: unknown flag $1; there are --small, --seeds N,... and --temp_data DIR" >&2; exit 2 ;;
        esac
        shift
    done
    install_environment requirements.txt
    _choose_location "$FOLDER"
    local asked="$SMALL"
    SMALL=false
    python scripts/estimate.py --name "$name" --seeds "${seeds:-0,1,2}" --temp_data "$FOLDER" < <(studies)
    SMALL="$asked"
    if $SMALL; then seeds="${seeds:-0}"; else seeds="${seeds:-0,1,2}"; fi
    local lines number=0
    mapfile -t lines < <(studies)
    for line in "${lines[@]}"; do
        number=$((number + 1))
        echo "[$name $number/${#lines[@]}] $line"
        # shellcheck disable=SC2086  # a line is a list of flags
        python main.py --exp mem_inf --train_missing --skip_finished --quiet --seeds "$seeds" --temp_data "$FOLDER" $line > /dev/null
    done
    python main.py --exp report --comparison "$name" --temp_data "$FOLDER"
    [ -n "${PART_OF_ALL:-}" ] || python main.py --exp report --temp_data "$FOLDER"
}

# One setting, as flags of main.py.
study() { echo "$*"; }

# Real check-ins where their package can be had, invented ones where not; both have nine classes.
_choose_location() {
    ADULT="--dataset_name adult"
    LOCATION="--dataset_name location --original_label foursquare"
    REAL_LOCATION=true
    [ -f "$1/processed_dataset/location_foursquare/dataset.json" ] ||
        python data_prepare.py --dataset_name location --download --quiet --temp_data "$1" > /dev/null 2>&1 || {
            echo "location / foursquare cannot be had here: synthetic venues take its place" >&2
            LOCATION="--dataset_name location --original_label synthetic"
            REAL_LOCATION=false
        }
}

# Requests of 1 to 100 records, asked about as one value of --samples_to_evaluate says.
request_sizes() {
    local question="$1" data targets=(DT LR) sizes=(1 2 5 10 20 50 100)
    if $SMALL; then targets=(DT) sizes=(1 10 100); fi
    for data in "$ADULT" "$LOCATION"; do
        for target in "${targets[@]}"; do
            for count in "${sizes[@]}"; do
                study $data --original_model "$target" --samples_to_evaluate "$question" \
                    --shadow_unlearning_num "$count" --target_unlearning_num "$count"
            done
        done
    done
}
