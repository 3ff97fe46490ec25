#!/usr/bin/env bash
# Prints the folder of an engine that reads Parquet, for PYTHONPATH; installed if it is not there, once a machine, by
# pip: tests/readers.sh duckdb | frames | spark. `spark` (350 MB) also needs Java, which is installed as root.
# A change of this file installs anew.
set -euo pipefail
engine=${1:?name an engine}
cache=${XDG_CACHE_HOME:-$([[ $EUID == 0 ]] && echo /var/cache || echo "$HOME/.cache")}/anetcon-tests
folder=$cache/readers-$engine-$(sha256sum "$0" | cut -c 1-12)
python=$(dirname "$0")/../.venv/bin/python

case $engine in
duckdb) packages=(duckdb==1.1.0) ;; # the oldest that docs/how-to promises; the newest is the program's own
frames) packages=(pandas==3.1.1 python-dateutil==4.0.0 tzdata==2026.6 polars==2.1.0 polars-runtime-32==2.1.0
  chdb==4.4.0 chdb-core==26.9.0) ;;
spark) packages=(pyspark==3.5.6 py4j==0.10.9.7) ;;
*) echo "tests: no reader is called $engine" >&2; exit 1 ;;
esac

mkdir -p "$cache"
exec 9>"$cache/readers.lock"
flock 9
if [[ $engine == spark ]] && ! command -v java >/dev/null; then
  { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends default-jre-headless; } \
    </dev/null >&2 || { echo "tests: no Java, which Spark needs: install default-jre-headless" >&2; exit 1; }
fi
if [[ ! -d $folder ]]; then
  echo "tests: installing readers ($engine), once" >&2
  rm -rf "$cache/readers-$engine"-*.new
  find "$cache" -maxdepth 1 -name "readers-$engine-*" -mtime +30 -exec rm -rf {} +
  "$python" -m pip install --quiet --quiet --no-deps --no-build-isolation --target "$folder.new" "${packages[@]}" >&2
  mv "$folder.new" "$folder"
fi
echo "$folder"
