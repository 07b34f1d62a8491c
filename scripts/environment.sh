# Sourced by the other scripts: makes and activates .venv with the packages of the given requirement files.
# Needs nothing but Python >= 3.10 with pip; PYTHON=/path/to/python picks another interpreter. Runs under bash 3.2.

cd "$(dirname "${BASH_SOURCE[0]}")/.."

install_environment() {
    local python="${PYTHON:-python3}" file stamp wanted size
    if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))'; then
        echo "$python is missing or older than Python 3.10; set PYTHON=/path/to/python" >&2
        exit 2
    fi
    [ -x .venv/bin/python ] || "$python" -m venv .venv
    # The stamp is written last: an installation that was broken off is done again.
    stamp=".venv/installed-$(echo "$*" | tr ' /' '-_')"
    wanted="$(cat "$@" requirements-core.txt)"
    if [ ! -f "$stamp" ] || [ "$(cat "$stamp")" != "$wanted" ]; then
        case " $* " in
            *" requirements.txt "*) size="about 6 GB with PyTorch, some minutes" ;;
            *) size="about 470 MB, half a minute" ;;
        esac
        echo "installing $* into .venv ($size)"
        set -- $(for file in "$@"; do echo "-r $file"; done)
        .venv/bin/python -m pip install --quiet --disable-pip-version-check "$@"
        echo "$wanted" > "$stamp"
    fi
    source .venv/bin/activate
}
