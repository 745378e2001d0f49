#!/bin/sh
# Holds the unit files against systemd's own tools in a throw-away root: syntax, exposure (at most 1.0 of 10), users,
# groups and directory modes. Needs root (for the owners) and systemd 252 or later; changes nothing outside of that root.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

units=$root/usr/lib/systemd/system
mkdir -p "$root/etc" "$root/usr/bin" "$root/usr/lib/sysusers.d" "$root/usr/lib/tmpfiles.d" "$units"
cp "$here"/*.service "$here"/*.socket "$here"/*.target "$units"
cp -a /lib/systemd/system/*.target /lib/systemd/system/*.slice "$units"
cp "$here/memvpd.sysusers" "$root/usr/lib/sysusers.d/memvpd.conf"
cp "$here/memvpd.tmpfiles" "$root/usr/lib/tmpfiles.d/memvpd.conf"
for program in memvpd memvpctl; do cp /bin/true "$root/usr/bin/$program"; done

# Unknown settings are only warned of, with exit code 0; here any word is too many. First plain, then with the drop-in.
for drop_in in none "$here/10-inbox-elsewhere.conf.example"; do
    if [ "$drop_in" != none ]; then
        mkdir "$units/memvpd.service.d"
        cp "$drop_in" "$units/memvpd.service.d/10-inbox-elsewhere.conf"
    fi
    words=$(systemd-analyze verify --root="$root" --man=no memvpd.service memvpd-control.socket memvpd-metrics.socket 2>&1) ||
        words="systemd-analyze verify failed: $words"
    [ -z "$words" ] || { printf '%s\n' "$words" >&2; exit 1; }
done

systemd-analyze security --offline=true --threshold=10 --no-pager "$here/memvpd.service" >"$root/security" ||
    { cat "$root/security" >&2; exit 1; }
grep 'Overall' "$root/security"

systemd-sysusers --root="$root" 2>/dev/null
systemd-tmpfiles --root="$root" --create
id() { [ "$1" = root ] && echo 0 || awk -F: -v name="$1" '$1 == name { print $3 }' "$root/etc/group"; }
expect() {
    found=$(stat -c '%a %g' "$root$1")
    [ "$found" = "$2 $(id "$3")" ] || { echo "$1: mode and group are $found, not $2 $(id "$3") ($3)" >&2; exit 1; }
}
expect /run/memvpd 755 root
expect /var/lib/memvpd 711 memvpd
expect /var/lib/memvpd/inbox 3770 memvpd-drop
expect /var/lib/memvpd/outbox 2750 memvpd-read
for directory in spool failed done; do expect /var/lib/memvpd/$directory 2750 memvpd-operators; done
for group in memvpd-drop memvpd-read; do
    grep -q "^$group:.*:memvpd\$" "$root/etc/group" || { echo "memvpd is not in $group" >&2; exit 1; }
done
echo "systemd units: well"
