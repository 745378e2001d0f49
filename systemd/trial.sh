#!/bin/bash
# The units with the real programs under a real systemd, from the first start without a model to the last stop: readiness, status
# text, rights, socket activation, reload, watchdog, exit codes. For a throw-away machine or container that systemd has booted:
# it installs into /usr/bin, /etc and /var/lib, and makes users. Needs root; `check.sh` beside this needs neither.
#   MEMVPD_TRIAL=yes systemd/trial.sh PROGRAMS MODEL PHOTO
# PROGRAMS: a directory with memvpd and memvpctl; MODEL: a bundle with an adapter. Ends with 77 where it cannot run, saying why.
set -u
here=$(cd "$(dirname "$0")" && pwd)
cannot() { echo "systemd/trial.sh: skipped: $*" >&2; exit 77; }
[ $# -eq 3 ] || { sed -n 5,6p "$0" >&2; exit 64; }
programs=$1 model=$2 photo=$3
[ "$(cat /proc/1/comm)" = systemd ] || cannot "systemd is not process 1 here; boot a throw-away container or machine"
[ "$(id -u)" = 0 ] || cannot "needs root"
[ "${MEMVPD_TRIAL:-}" = yes ] || cannot "it would change this machine; set MEMVPD_TRIAL=yes if it may"
[ -e "$model/language.gguf" ] || cannot "$model is no model bundle"

failures=0
say() { echo "== $*"; }
well() { echo "   ok: $*"; }
bad() { echo "   FAILED: $*"; failures=$((failures + 1)); }
is() { if [ "$2" = "$3" ]; then well "$1: $2"; else bad "$1: '$2' instead of '$3'"; fi; }
has() { case $2 in *"$3"*) well "$1: $3" ;; *) bad "$1: no '$3' in: $2" ;; esac; }
succeeds() { if "${@:2}"; then well "$1"; else bad "$1: failed"; fi; }
show() { systemctl show -p "$1" --value memvpd.service; }
as() { setpriv --reuid="trial-$1" --regid="trial-$1" --init-groups "${@:2}"; }
# Waits for a fact, a minute at the most.
until_is() {
    local deadline=$((SECONDS + 60)) found
    while found=$("${@:3}" 2>&1); [ "$found" != "$2" ]; do
        [ $SECONDS -lt $deadline ] || { bad "$1: still '$found', not '$2'"; return 1; }
        sleep 0.1
    done
    well "$1: $2"
}
units() { systemctl is-active memvpd.service memvpd-control.socket memvpd-metrics.socket | paste -sd' '; }
mode() { stat -c '%a %U %G' "$1"; }
restarts() { echo "$(show NRestarts) $(systemctl is-active memvpd.service)"; }
hint() { journalctl -u memvpd.service -o cat --no-pager | grep -o 'Install a model with .memvp models install FILE.tar.'; }
batch() { memvpctl status --json 2>/dev/null | grep -o '"batch":[0-9]*'; }

say "installation"
install -m 755 "$programs/memvpd" "$programs/memvpctl" /usr/bin/
install -m 644 "$here"/memvpd.service "$here"/*.socket "$here"/*.target /etc/systemd/system/
install -D -m 644 "$here/memvpd.sysusers" /usr/lib/sysusers.d/memvpd.conf
install -D -m 644 "$here/memvpd.tmpfiles" /usr/lib/tmpfiles.d/memvpd.conf
install -m 644 "$here/../etc/memvpd.yaml" /etc/memvpd.yaml
systemd-sysusers && systemd-tmpfiles --create memvpd.conf
for user in trial-dropper trial-reader trial-operator trial-stranger; do useradd "$user"; done
usermod -aG memvpd-drop trial-dropper; usermod -aG memvpd-read trial-reader; usermod -aG memvpd-operators trial-operator
systemctl daemon-reload

say "a start without a model"
if systemctl start memvpd 2>/dev/null; then bad "it started"; else well "systemctl start fails"; fi
is "exit status" "$(show ExecMainStatus)" 78
is "not to be started again" "$(show SubState) $(show NRestarts)" "failed 0"
until_is "the sockets are closed too" "failed inactive inactive" units
until_is "the journal's hint" "Install a model with \`memvp models install FILE.tar\`" hint
say "the hint followed"
cp -r "$model" /var/lib/memvpd/model
systemctl reset-failed memvpd
succeeds "systemctl start succeeds" systemctl start memvpd
is "type" "$(show Type) $(show ActiveState) $(show SubState)" "notify active running"
has "status text" "$(show StatusText)" "serving"
is "units" "$(units)" "active active active"
is "no dump of photos" "$(show LimitCORE)" 0
# What the unit hides of /proc must not take a metric away.
has "metrics of the process" "$(memvpctl metrics | grep -c '^process_')" 6

say "rights"
is "control socket" "$(mode /run/memvpd/control.sock)" "660 memvpd memvpd-operators"
is "metrics socket" "$(mode /run/memvpd/metrics.sock)" "666 memvpd memvpd-operators"
is "inbox" "$(mode /var/lib/memvpd/inbox)" "3770 memvpd memvpd-drop"
is "outbox" "$(mode /var/lib/memvpd/outbox)" "2750 memvpd memvpd-read"
if as operator memvpctl status >/dev/null; then well "an operator may ask"; else bad "an operator may not ask"; fi
if as stranger memvpctl status >/dev/null 2>&1; then bad "a stranger may steer"; else well "a stranger may not"; fi
if as stranger memvpctl metrics --socket /run/memvpd/metrics.sock | grep -q '^memvpd_up_seconds'; then well "anybody may read metrics"; else bad "not so: anybody may read metrics"; fi
succeeds "a member of memvpd-drop drops a photo" as dropper cp "$photo" /var/lib/memvpd/inbox/photo.jpg
if as stranger cp "$photo" /var/lib/memvpd/inbox/other.jpg 2>/dev/null; then bad "a stranger drops"; else well "a stranger may not"; fi
until_is "answered" photo.json ls /var/lib/memvpd/outbox
is "the answer's mode" "$(mode /var/lib/memvpd/outbox/photo.json)" "640 memvpd memvpd-read"
has "what a reader reads" "$(as reader cat /var/lib/memvpd/outbox/photo.json)" '"status":"ok"'
if as stranger cat /var/lib/memvpd/outbox/photo.json 2>/dev/null; then bad "a stranger reads it"; else well "a stranger may not"; fi
as dropper sh -c "umask 077; cp '$photo' /var/lib/memvpd/inbox/private.jpg"
until_is "a file without rights for the group" unreadable sh -c \
    "grep -o '\"code\":\"[a-z]*\"' /var/lib/memvpd/outbox/private.json | cut -d'\"' -f4"

say "reload"
process=$(show MainPID)
sed -i 's/^batch: .*/batch: 8/' /etc/memvpd.yaml
succeeds "systemctl reload succeeds" systemctl reload memvpd
is "in force when it returns" "$(batch)" '"batch":8'
echo 'colour: red' >>/etc/memvpd.yaml
if systemctl reload memvpd 2>/dev/null; then bad "a bad configuration is accepted"; else well "a bad configuration is refused"; fi
has "memvpctl works beside a broken file" "$(memvpctl status 2>/dev/null)" "running"
is "the old one goes on" "$(show ActiveState) $(batch)" 'active "batch":8'
sed -i -e '/^colour/d' -e 's/^batch: .*/batch: 4/' /etc/memvpd.yaml
systemctl kill --kill-whom=main --signal=HUP memvpd
until_is "SIGHUP reloads as well" '"batch":4' batch
is "the same process" "$(show MainPID)" "$process"

say "stop, and start by a socket"
systemctl stop memvpd 2>/dev/null
is "result" "$(show Result) $(show ExecMainStatus)" "success 0"
is "units" "$(units)" "inactive inactive inactive"
is "sockets are gone" "$(ls /run/memvpd)" ""
cp "$photo" /var/lib/memvpd/inbox/while-stopped.jpg && chown trial-dropper:memvpd-drop /var/lib/memvpd/inbox/while-stopped.jpg
systemctl start memvpd-metrics.socket
if as stranger memvpctl metrics --socket /run/memvpd/metrics.sock | grep -q '^memvpd_up_seconds'; then well "the first request starts the daemon"; else bad "not so: the first request starts the daemon"; fi
until_is "units" "active active active" units
until_is "what was dropped meanwhile is answered" yes sh -c '[ -e /var/lib/memvpd/outbox/while-stopped.json ] && echo yes'

say "watchdog"
mkdir -p /etc/systemd/system/memvpd.service.d
printf '[Service]\nWatchdogSec=3s\n' >/etc/systemd/system/memvpd.service.d/watchdog.conf
systemctl daemon-reload && systemctl restart memvpd
process=$(show MainPID) before=$(show WatchdogTimestampMonotonic) feeds=0 deadline=$((SECONDS + 60))
# Five feeds are more than two of its periods.
while [ $feeds -lt 5 ] && [ $SECONDS -lt $deadline ]; do
    now=$(show WatchdogTimestampMonotonic)
    [ "$now" = "$before" ] || { feeds=$((feeds + 1)); before=$now; }
    sleep 0.1
done
is "fed five times, the same process" "$feeds $(show MainPID) $(show NRestarts)" "5 $process 0"
kill -STOP "$process"
until_is "stopped, it is killed and started again" "1 active" restarts
if [ "$(show MainPID)" != "$process" ]; then well "another process"; else bad "not so: another process"; fi
has "the journal" "$(journalctl -u memvpd -o cat --no-pager)" "Watchdog timeout"
as dropper cp "$photo" /var/lib/memvpd/inbox/after.jpg
until_is "it answers" yes sh -c '[ -e /var/lib/memvpd/outbox/after.json ] && echo yes'

say "a model that is damaged later"
truncate -s 1000 /var/lib/memvpd/model/vision.gguf
if systemctl restart memvpd 2>/dev/null; then bad "it started"; else well "systemctl restart fails"; fi
is "exit status" "$(show ExecMainStatus) $(show SubState)" "78 failed"
until_is "the sockets are closed too" "failed inactive inactive" units
succeeds "systemd-analyze verify" systemd-analyze verify --man=no memvpd.service

[ $failures = 0 ] || { echo "systemd/trial.sh: $failures checks failed"; journalctl -u memvpd --no-pager | tail -40; exit 1; }
echo "systemd/trial.sh: all is well"
