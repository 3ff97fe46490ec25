#!/usr/bin/env bash
# Makes this clone ready to use: missing system packages (Debian, as root), a virtual environment in .venv, the program
# in it. Quick when nothing is to be done. Starts no service, and changes nothing else on the machine.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(iproute2 nftables iptables conntrack ulogd2 ulogd2-json rsyslog logrotate procps util-linux mmdebstrap
  groff-base zsh fish)
new_services=() # those we install only to compare with; they are not to run on this machine

say() { printf 'setup: %s\n' "$*" >&2; }
die() { say "$@"; exit 1; }

missing() { # those of the named packages that are not installed
  local package
  for package in "$@"; do
    [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || echo "$package"
  done
}

install_packages() {
  local policy=/usr/sbin/policy-rc.d log ours=
  say "installing $*"
  log=$(mktemp)
  if [[ ! -e $policy && ! -L $policy ]]; then # asked by every package before it starts a service: the answer is no
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    ours=$policy
  fi
  # shellcheck disable=SC2064 - the paths as they are now
  trap "rm -f '$log' $ours" EXIT
  export DEBIAN_FRONTEND=noninteractive
  { apt-get update && apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "$@"; } \
    </dev/null >"$log" 2>&1 || { tail -n 20 "$log" >&2; die "apt-get could not install $*: see above"; }
  rm -f "$log" $ours
  trap - EXIT
}

system_packages() {
  local wanted package
  if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    say "this is not Debian: install by its own means what of this is missing: ${packages[*]}"
    return
  fi
  mapfile -t wanted < <(missing "${packages[@]}")
  ((${#wanted[@]})) || return 0
  if ((EUID != 0)); then
    say "going on without ${wanted[*]}: run 'make setup' as root to install them; tests that need them are skipped"
    return
  fi
  install_packages "${wanted[@]}"
  for package in "${wanted[@]}"; do
    case $package in ulogd2 | rsyslog) new_services+=("$package") ;; esac
  done
  if ((${#new_services[@]})) && command -v systemctl >/dev/null; then # nor at the next boot
    systemctl --quiet disable "${new_services[@]/%/.service}" >/dev/null 2>&1 || true
  fi
}

find_python() { # the newest Python >= 3.11
  local name
  for name in python3.13 python3.12 python3.11 python3; do
    if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      command -v "$name"
      return
    fi
  done
  return 0
}

can_venv() { "$1" -c 'import ensurepip, venv' 2>/dev/null; }

python_for_venv() {
  local python package=python3-venv
  python=$(find_python)
  [[ -z $python ]] || package=python$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv
  if [[ -z $python ]] || ! can_venv "$python"; then
    if ((EUID == 0)) && command -v apt-get >/dev/null; then
      install_packages "$package"
      python=$(find_python)
    fi
  fi
  [[ -n $python ]] || die "needs Python 3.11 or newer, found $(python3 --version 2>/dev/null || echo none):" \
    "install one as python3.11, python3.12 or python3.13 and run 'make setup' again"
  can_venv "$python" || die "$python cannot make virtual environments: install $package as root and run 'make setup' again"
  echo "$python"
}

system_packages

# What the environment was made from, and where: either changed means installing again.
stamp=.venv/.made-from
locks=(packaging/requirements.lock packaging/requirements-dev.lock) # versions and digests: tools/lock.py writes them
made_from="$(cat pyproject.toml "${locks[@]}" | sha256sum) $PWD"
if [[ -x .venv/bin/anetcon && $(cat $stamp 2>/dev/null) == "$made_from" ]] && .venv/bin/python -c '' 2>/dev/null; then
  exit 0
fi
# A copied or moved environment, or one whose Python is gone, is made anew; a working one is only brought up to date.
if ! { .venv/bin/python -c '' && grep -qF -- "$PWD/.venv" .venv/pyvenv.cfg; } 2>/dev/null; then
  python=$(python_for_venv)
  say "making .venv with $("$python" --version)"
  "$python" -m venv --clear .venv
fi
say "installing the program and what it needs"
pip() { .venv/bin/python -m pip install --quiet --quiet "$@" || die "pip could not install the program: see above"; }
pip --require-hashes --only-binary=:all: "${locks[@]/#/--requirement=}"
pip --no-deps --no-build-isolation --editable .
[[ -x .venv/bin/anetcon ]] || die "pip installed no anetcon: look at [project.scripts] in pyproject.toml"
echo "$made_from" >$stamp
