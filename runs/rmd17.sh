#!/bin/sh
# Train every molecule of revised MD17, two at a time: runs/rmd17.sh [MOLECULE ...]
#
# Needs the data (qiff data fetch rmd17, or QIFF_DATA). It can be interrupted at any time: run
# again, it skips finished runs and resumes the others. Results: runs/rmd17/MOLECULE/metrics.json.
set -eu
cd "$(dirname "$0")/.."

one() {
  folder=runs/rmd17/$1
  [ -e "$folder/metrics.json" ] && return
  again=; [ -e "$folder/config.toml" ] && again=--resume
  qiff train "$folder.toml" $again
}

if [ "${1-}" = one ]; then one "$2"; exit; fi
[ $# -gt 0 ] || set -- ethanol malonaldehyde benzene uracil toluene salicylic naphthalene paracetamol aspirin azobenzene
printf '%s\n' "$@" | xargs -P "${JOBS:-2}" -n 1 "$0" one
