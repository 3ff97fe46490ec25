#!/usr/bin/env bash
# Prints the folder of a minimal Debian 12 with what the tests of the installed program need, made if it is not there
# (half a minute, as root, from Debian's archive). A change of this file makes another image.
set -euo pipefail
cache=${XDG_CACHE_HOME:-/var/cache}/anetcon-tests
image=$cache/bookworm-$(sha256sum "$0" | cut -c 1-12)
packages=systemd,systemd-sysv,dbus,python3,iproute2,procps,nftables,iptables,conntrack,rsyslog,logrotate,man-db
packages+=,bash-completion,adduser,kmod

((EUID == 0)) || { echo "tests: not root, so there is no Debian to install things on" >&2; exit 1; }
mkdir -p "$cache"
exec 9>"$cache/lock"
flock 9
if [[ ! -d $image ]]; then
  echo "tests: making a Debian to install things on, once" >&2
  # Half a one of somebody who was killed, in which something may be mounted, and old ones: young ones may be in use.
  rm -rf --one-file-system "$cache"/bookworm-*.new
  find "$cache" -maxdepth 1 -name 'bookworm-*' -mtime +30 -exec rm -rf --one-file-system {} +
  mirror=$(sed -nE 's/^(URIs:|deb( \[.*\])?) *(https?:[^ ]*\/debian\/?)( .*)?$/\3/p' \
    /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | head -n 1 || true)
  log=$(mktemp)
  mmdebstrap --variant=minbase --skip=output/dev --include="$packages" bookworm "$image.new" \
    "deb ${mirror:-http://deb.debian.org/debian} bookworm main" </dev/null >"$log" 2>&1 \
    || { tail -n 5 "$log" >&2; rm -rf --one-file-system "$log" "$image.new"; exit 1; }
  rm -f "$log"
  : >"$image.new/etc/fstab"
  echo booted >"$image.new/etc/hostname"
  # What belongs to the machine around it, or would only take time.
  for unit in systemd-sysctl.service systemd-modules-load.service systemd-remount-fs.service systemd-random-seed.service \
    sys-kernel-{config,debug,tracing}.mount sys-fs-fuse-connections.mount dev-hugepages.mount dev-mqueue.mount \
    proc-sys-fs-binfmt_misc.automount systemd-{binfmt,pstore,update-utmp}.service console-getty.service getty.target \
    apt-daily.timer apt-daily-upgrade.timer man-db.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer; do
    ln -sf /dev/null "$image.new/etc/systemd/system/$unit"
  done
  rm -f "$image.new/etc/systemd/system/multi-user.target.wants/rsyslog.service" \
    "$image.new/etc/systemd/system/syslog.service"
  mkdir -p "$image.new/etc/systemd/journald.conf.d"
  printf '[Journal]\nStorage=volatile\nReadKMsg=no\nRateLimitIntervalSec=0\n' \
    >"$image.new/etc/systemd/journald.conf.d/tests.conf"
  mv "$image.new" "$image"
fi
echo "$image"
