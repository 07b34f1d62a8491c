# Sourced by the other scripts: makes and activates .venv with the packages of the given requirement files.
# Needs nothing but Python >= 3.10 with pip; PYTHON=/path/to/python picks another interpreter.

cd "$(dirname "${BASH_SOURCE[0]}")/.."

install_environment() {
    local python="${PYTHON:-python3}"
    if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))'; then
        echo "$python is missing or older than Python 3.10; set PYTHON=/path/to/python" >&2
        exit 2
    fi
    [ -x .venv/bin/python ] || "$python" -m venv .venv
    # The stamp is written last: an installation that was broken off is done again.
    local stamp wanted
    stamp=".venv/installed-$(echo "$*" | tr ' /' '-_')"
    wanted="$(cat "$@")"
    if [ ! -f "$stamp" ] || [ "$(cat "$stamp")" != "$wanted" ]; then
        echo "installing $* into .venv (some minutes; PyTorch is large)"
        local flags=()
        for file in "$@"; do flags+=(-r "$file"); done
        .venv/bin/python -m pip install --quiet --disable-pip-version-check "${flags[@]}"
        echo "$wanted" > "$stamp"
    fi
    source .venv/bin/activate
}
