#!/bin/sh
# Shows the whole way of a photo: starts memvpd on temporary directories, drops a photo with a task spec, prints the answer
# and the status, and stops the daemon with SIGTERM, which must end it with 0.
# usage: demo.sh BIN BUNDLE [PHOTO]      BIN: the directory with memvpd and memvpctl; BUNDLE: a model bundle
# exit codes: 64 usage, 70 a step went wrong, 78 the bundle is missing or has no adapter
set -eu

fail() {
    code=$1
    shift
    echo "demo.sh: $*" >&2
    exit "$code"
}

[ $# -ge 2 ] || fail 64 "usage: demo.sh BIN BUNDLE [PHOTO]"
bin=$(cd "$1" && pwd) || fail 64 "$1 is no directory"
here=$(cd "$(dirname "$0")/.." && pwd)
photo=${3:-$here/Tests/CommandsTests/Fixtures/chelsea.jpg}
[ -x "$bin/memvpd" ] && [ -x "$bin/memvpctl" ] || fail 64 "$bin has no memvpd and memvpctl: build them first"
[ -f "$2/model.yaml" ] || fail 78 "$2 is no model bundle: run make models"
bundle=$(cd "$2" && pwd)
if grep -q '^adapters: {}' "$bundle/model.yaml"; then
    fail 78 "$bundle has no adapter, so it cannot answer: add one with memvp convert adapter"
fi

root=$(mktemp -d)
daemon=
cleanup() {
    if [ -n "$daemon" ]; then
        kill -TERM "$daemon" 2>/dev/null || true
    fi
    rm -rf "$root"
}
trap cleanup EXIT
trap 'exit 130' INT TERM
mkdir "$root/inbox" "$root/spool" "$root/outbox" "$root/failed" "$root/done" "$root/run"
cat >"$root/memvpd.yaml" <<END
directories:
  inbox: $root/inbox
  spool: $root/spool
  outbox: $root/outbox
  failed: $root/failed
  done: $root/done
sockets:
  control: $root/run/control.sock
  metrics: $root/run/metrics.sock
model: $bundle
END
cat >"$root/photo.yaml" <<END
version: 1
image: photo.jpg
tasks:
  - id: caption
    caption: { max_tokens: 40 }
  - id: animal
    ask: "What animal is this?"
  - id: man
    ask: "Is there a man?"
    answer: { choices: [yes, no] }
END
"$bin/memvpctl" check "$root/photo.yaml"

"$bin/memvpd" --config "$root/memvpd.yaml" &
daemon=$!
mv "$root/photo.yaml" "$root/inbox/"
# Under a temporary name first, then moved: taken at once and never half written.
cp "$photo" "$root/inbox/photo.jpg.part"
mv "$root/inbox/photo.jpg.part" "$root/inbox/photo.jpg"

answer=$root/outbox/photo.json
left=600
until [ -f "$answer" ]; do
    kill -0 "$daemon" 2>/dev/null || fail 70 "memvpd ended before it answered"
    left=$((left - 1))
    [ "$left" -gt 0 ] || fail 70 "no answer within a minute"
    sleep 0.1
done
echo "--- photo.json"
cat "$answer"
echo "--- memvpctl status"
"$bin/memvpctl" status --socket "$root/run/control.sock"

kill -TERM "$daemon"
code=0
wait "$daemon" || code=$?
daemon=
[ "$code" -eq 0 ] || fail 70 "memvpd ended with $code after SIGTERM"
grep -q '"status":"ok"' "$answer" || fail 70 "the answer is an error"
echo "--- memvpd ended with 0"
