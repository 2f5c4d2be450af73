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
