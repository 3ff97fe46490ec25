#!/usr/bin/env bash
# Becomes the systemd of a Debian of its own: boot.sh IMAGE DISK [OUTSIDE:INSIDE[:OPTIONS]...]. To be started by
#   unshare --mount --propagation slave --pid --fork --kill-child --uts --ipc --net --cgroup
# whose namespaces hold all it does: an overlay over IMAGE, in memory or, to be booted again, in the folder DISK; devices,
# and a /proc/sys of which only the network's part, which is the network namespace's own, can be written. Binds are read-only unless OPTIONS say otherwise (mount(8)).
set -euo pipefail
umask 022 # whatever the tests before left: not only root lives here
image=$1 disk=$2
shift 2

if [[ ! $disk ]]; then
  disk=/mnt # hidden by our own mount; nobody else sees it
  mount -t tmpfs -o mode=755 anetcon-test "$disk"
fi
mkdir -p "$disk"/{upper,work,root}
root=$disk/root
mount -t overlay -o "lowerdir=$image,upperdir=$disk/upper,workdir=$disk/work" overlay "$root"

mount -t proc proc "$root/proc"
mount --bind "$root/proc/sys" "$root/proc/sys"
mount --bind "$root/proc/sys/net" "$root/proc/sys/net"
mount -o remount,bind,ro "$root/proc/sys"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in null zero full random urandom tty kmsg; do
  : >"$root/dev/$device"
  mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root"/dev/{pts,shm}
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"

for bind in "$@"; do
  IFS=: read -r outside inside options <<<"$bind"
  mkdir -p "$root$inside"
  mount --rbind "$outside" "$root$inside"
  mount -o "remount,bind,${options:-ro}" "$root$inside"
done

for timer in logrotate systemd-tmpfiles-clean; do # what writes at midnight, or later, is nothing a test did
  ln -sf /dev/null "$root/etc/systemd/system/$timer.timer"
done

cd "$root"
mkdir .before
pivot_root . .before
umount -l /.before
rmdir /.before
mount --make-rshared / # as systemd does on a machine: the mounts of services follow later ones, such as namespaces
exec env -i container=anetcon-test PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 \
  /lib/systemd/systemd --log-target=journal --show-status=no </dev/null
