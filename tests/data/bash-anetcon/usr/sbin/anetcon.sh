#!/usr/bin/env bash
# A stand-in for the bash ANetCon, written from its readme alone: the same rules, files and habits, none of its code.
# With OLDER=true below lines have the form they had before: [ANETCON] [NAT], without a hash.
CONFIGURATION=/etc/anetcon.conf
if [[ ${1-} == -c ]]; then
  CONFIGURATION=$2
fi

DEBUG='' OLDER=''
NAMESPACES=() NETS=()
PERIOD=30
CHAIN_NAME=anetcon
LOG_PREFIX='[ANETCON]' LOG_PREFIX_DNAT='[D]' LOG_PREFIX_OTHER='[X]'
LOG_NAMESPACE_HASH=true
NAMESPACE_HASH_FILE=/var/lib/anetcon/namespace.hash
LOGFILE=/var/log/anetcon/anetcon.log
# shellcheck source=/dev/null
. "$CONFIGURATION"

say() { echo "$(date '+%F %T') $*" >>"$LOGFILE"; }

selected() {
  local name pattern
  while read -r name _; do
    for pattern in "${NAMESPACES[@]}"; do
      if [[ $pattern != default ]] && grep -q -- "$pattern" <<<"$name"; then
        echo "$name"
        break
      fi
    done
  done < <(ip netns list)
}

rules_of() { # NAMESPACE: the prefix of either rule, and the networks of the second
  local hash='' i
  if [[ $OLDER ]]; then
    FLOAT='[ANETCON] [FLOAT] ' NAT='[ANETCON] [NAT] '
  else
    if [[ $LOG_NAMESPACE_HASH == true ]]; then
      hash=[$(printf %s "$1" | md5sum | cut -c 1-8)]
    fi
    FLOAT="$LOG_PREFIX$LOG_PREFIX_DNAT$hash " NAT="$LOG_PREFIX$LOG_PREFIX_OTHER$hash "
  fi
  SOURCES=('')
  for ((i = 0; i + 1 < ${#NETS[@]}; i += 2)); do
    if [[ ${NETS[i]} == "$1" ]]; then
      read -ra SOURCES <<<"${NETS[i + 1]}"
    fi
  done
}

each_rule() { # COMMAND...: with the words of each of our rules behind it
  local source match=(-p tcp -m tcp -m state --state NEW -m conntrack)
  "$@" "${match[@]}" --ctstate DNAT -j LOG --log-prefix "$FLOAT"
  for source in "${SOURCES[@]}"; do
    "$@" ${source:+-s "$source"} "${match[@]}" ! --ctstate DNAT -j LOG --log-prefix "$NAT"
  done
}

here() { # NAMESPACE COMMAND...
  ip netns exec "$1" iptables -w -t nat "${@:2}"
}

missing() {
  here "$1" -C "$CHAIN_NAME" "${@:2}" 2>/dev/null || here "$1" -A "$CHAIN_NAME" "${@:2}"
}

note() { # NAMESPACE: its line in the file of hashes
  if [[ $NAMESPACE_HASH_FILE ]]; then
    {
      cat "$NAMESPACE_HASH_FILE" 2>/dev/null
      echo "$1 [$(printf %s "$1" | md5sum | cut -c 1-8)]"
    } | sort -u >"$NAMESPACE_HASH_FILE.tmp"
    mv "$NAMESPACE_HASH_FILE.tmp" "$NAMESPACE_HASH_FILE"
  fi
}

look() {
  local name
  for name in $(selected); do
    rules_of "$name"
    here "$name" -N "$CHAIN_NAME" 2>/dev/null && say "watching $name"
    each_rule missing "$name"
    here "$name" -C POSTROUTING -j "$CHAIN_NAME" 2>/dev/null || here "$name" -I POSTROUTING -j "$CHAIN_NAME"
    note "$name"
  done
}

leave() {
  local name
  for name in $(selected); do
    here "$name" -D POSTROUTING -j "$CHAIN_NAME"
    here "$name" -F "$CHAIN_NAME"
    here "$name" -X "$CHAIN_NAME"
  done
  say "ended"
  exit 0
}

trap leave EXIT INT TERM
echo 1 >/proc/sys/net/netfilter/nf_log_all_netns
say "started${DEBUG:+, with $CONFIGURATION}"
while true; do
  look
  sleep "$PERIOD"
done
