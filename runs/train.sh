#!/bin/sh
# Train several configs, two at a time: runs/train.sh runs/rmd17/*.toml
#
# Needs their data (qiff data fetch rmd17, or QIFF_DATA). It can be interrupted at any time: run
# again, it skips finished runs and resumes the others. Results of a config F.toml: F/metrics.json.
set -eu

one() {
  folder=${1%.toml}
  [ -e "$folder/metrics.json" ] && return
  again=; [ -e "$folder/config.toml" ] && again=--resume
  qiff train "$1" $again
}

if [ "${1-}" = one ]; then one "$2"; exit; fi
printf '%s\n' "$@" | xargs -P "${JOBS:-2}" -n 1 "$0" one
