#!/usr/bin/env bash
# The runs behind results.md: ten seeds of each template, and dynamics with the water models.
# Usage: docs/results.sh FOLDER; needs `qiff` on the path, and QIFF_DATA for the rows on water-demo.
set -euo pipefail
out=$1
demo=(
    --set "data.path=$QIFF_DATA/water-demo" --set data.energy_unit=Hartree
    --set data.length_unit=Bohr --set "data.elements=['O', 'H', 'H']"
)
mkdir -p "$out"
for name in water lih; do qiff template "$name" > "$out/$name.toml"; done

train() { # NAME TEMPLATE SEED OPTIONS...: skips a finished run, resumes an interrupted one
    local run="$out/$1-$3" config="$out/$2.toml" seed=$3 again=()
    shift 3
    [ -e "$run/metrics.json" ] && return
    [ -e "$run/config.toml" ] && again=(--resume)
    qiff train "$config" --set "output=$run" --set "seed=$seed" "${again[@]}" "$@"
}

for seed in {0..9}; do
    train water water $seed
    train lih lih $seed
    train demo water $seed "${demo[@]}"
    train demo-energies water $seed "${demo[@]}" --set train.forces_weight=0
    for model in water demo; do
        [ -e "$out/$model-$seed/nve.json" ] || qiff md "$out/$model-$seed/model.qiff" bundled:water \
            --timestep 0.25 --steps 40000 --interval 20 --out "$out/$model-$seed/nve.xyz" --overwrite
    done
done

python3 - "$out" <<'EOF'
import json, statistics, sys
from pathlib import Path

def spread(values):
    return f"{statistics.mean(values):.3g} ± {statistics.stdev(values):.2g}"

for name in ("water", "lih", "demo", "demo-energies"):
    runs = [Path(sys.argv[1]) / f"{name}-{seed}" for seed in range(10)]
    metrics = [json.loads((run / "metrics.json").read_text()) for run in runs]
    cells = [name, str(metrics[0]["n_weights"])]
    for part in ("train", "valid", "test"):
        for error in ("energy_mae", "forces_mae"):
            cells.append(spread([1000 * m[part][error] for m in metrics]))
    cells.append(spread([m["seconds"] for m in metrics]))
    if (runs[0] / "nve.json").exists():
        reports = [json.loads((run / "nve.json").read_text()) for run in runs]
        cells.append(f"{max(abs(r['drift']) for r in reports):.1g}")
        cells.append(f"{max(r['momentum_change'] for r in reports):.0e}")
    print("| " + " | ".join(cells) + " |")
EOF
