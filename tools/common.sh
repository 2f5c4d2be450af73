# shellcheck shell=bash
# Sourced by the scripts of this directory and by .ci/run: where things are cached, and how progress is told.

# The one cache of everything that is built or installed for development. Outside the clone, so that all clones share it.
cache_root=${ENCRYPTED_QUEUE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/encrypted-queue-operator}

log() { printf '%s\n' "$*" >&2; }

fail() {
    log "error: $*"
    exit 1
}

need() { command -v "$1" >/dev/null || fail "$1 is needed and was not found${2:+: $2}"; }

# Holds a lock named $1 until the script ends. Without flock (macOS) two runs may both do the work; renaming keeps even that correct.
lock() {
    mkdir -p "$cache_root/locks"
    command -v flock >/dev/null || return 0
    exec 9>"$cache_root/locks/$1"
    flock --nonblock 9 && return
    log "waiting for another run that holds $cache_root/locks/$1"
    flock 9
}

# tell_time WHAT OUTPUT: a line every 15 s, until OUTPUT.done exists or the script that asked is gone; then both files go.
tell_time() {
    local started=$SECONDS next=15
    until [ -e "$2.done" ] || ! kill -0 $$ 2>/dev/null; do
        sleep 0.2
        [ $((SECONDS - started)) -lt "$next" ] && continue
        log "$1 … $next s, now: $(tail -n 1 "$2" | cut -c 1-80)"
        next=$((next + 15))
    done
    rm -f "$2" "$2.done"
}

# with_progress WHAT COMMAND…: runs the command with its output kept aside, tells the time every 15 s, and shows the output's end on failure.
with_progress() {
    local what=$1 output started=$SECONDS status=0 ticker
    shift
    output=$(mktemp)
    log "$what …"
    tell_time "$what" "$output" 9>&- &
    ticker=$!
    # The lock stays with this script: a compiler's server that outlives the command must not keep it.
    "$@" >"$output" 2>&1 9>&- || status=$?
    [ "$status" -eq 0 ] || tail -n 40 "$output" >&2
    touch "$output.done"
    wait "$ticker"
    [ "$status" -eq 0 ] || fail "$what: exit status $status after $((SECONDS - started)) s"
    log "$what: done in $((SECONDS - started)) s"
}

# go_tool NAME VERSION PACKAGE LINKER-FLAGS: prints where the tool is, once it is built from its Go module, at the versions of tools/NAME/go.mod.
go_tool() {
    local name=$1 version=$2 package=$3 flags=$4 installation=$cache_root/$1/$2 module
    module=$(cd "$(dirname "${BASH_SOURCE[0]}")/$name" && pwd)
    if ! [ -x "$installation/$name" ]; then
        need go "building $name takes Go 1.26 or newer"
        lock "$name"
    fi
    if ! [ -x "$installation/$name" ]; then
        mkdir -p "$installation"
        with_progress "building $name $version (about two minutes, once)" \
            env CGO_ENABLED=0 GOWORK=off nice go -C "$module" build -v -trimpath -ldflags "-s -w $flags" -o "$installation/$name.$$" "$package"
        mv "$installation/$name.$$" "$installation/$name"
    fi
    echo "$installation/$name"
}

# required_version NAME MODULE: the version of a module that tools/NAME/go.mod pins.
required_version() {
    awk -v module="$2" '{ sub(/^require /, ""); if ($1 == module) { print $2; exit } }' "$(dirname "${BASH_SOURCE[0]}")/$1/go.mod"
}

# cargo_tool NAME VERSION: prints where that version of a cargo subcommand is: on the PATH, or in the cache, installed there once.
cargo_tool() {
    local name=$1 version=$2 installation=$cache_root/$1/$2
    if [ "$("$name" --version 2>/dev/null)" = "$name $version" ]; then
        command -v "$name"
        return
    fi
    [ -x "$installation/bin/$name" ] || lock "$name"
    [ -x "$installation/bin/$name" ] ||
        with_progress "installing $name $version (a few minutes, once)" nice cargo install --locked "$name" --version "$version" --root "$installation"
    echo "$installation/bin/$name"
}

# python_environment NAME [--path]: prints the virtual environment in the cache that has what tools/NAME/requirements.txt lists, installed once for each
# version of that file and of Python; with --path only where it is or would be.
python_environment() {
    local name=$1 requirements key environment
    requirements=$(cd "$(dirname "${BASH_SOURCE[0]}")/$1" && pwd)/requirements.txt
    need python3
    key=$(python3 -c 'import hashlib, sys
digest = hashlib.sha256(open(sys.argv[1], "rb").read()).hexdigest()
print(f"{digest[:16]}-python{sys.version_info[0]}.{sys.version_info[1]}")' "$requirements")
    environment=$cache_root/$name/$key
    if [ "${2:-}" != --path ] && ! [ -e "$environment/complete" ]; then
        python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' || fail "$name needs Python 3.10 or newer, and python3 is $(python3 --version)"
        python3 -c 'import ensurepip, venv' 2>/dev/null || fail "python3 lacks its venv module (on Debian and Ubuntu: apt-get install python3-venv)"
        lock "$name"
        if ! [ -e "$environment/complete" ]; then
            # Its scripts hold its path, so it cannot be renamed into place: the file `complete` says that it is whole.
            rm -rf "$environment"
            mkdir -p "$environment"
            with_progress "creating a virtual environment for $name" python3 -m venv "$environment"
            with_progress "installing $name into $environment" \
                nice "$environment/bin/python" -m pip install --disable-pip-version-check --no-input --require-hashes -r "$requirements"
            touch "$environment/complete"
        fi
    fi
    echo "$environment"
}
