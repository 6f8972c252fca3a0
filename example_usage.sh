#!/usr/bin/env bash
# Trains an early-exit network and evaluates it.
#   ./example_usage.sh                     on the embedded data set SyntheticScenes, in a few minutes
#   ./example_usage.sh NWPU path/to/NWPU   on real scenes, with the published settings (hours; a GPU helps)
# PYTHON and OUTPUT may name another interpreter and another folder for the results.
set -euo pipefail
cd "$(dirname "$0")"

python=${PYTHON:-python3}
[[ -z ${PYTHON:-} && -x .venv/bin/python ]] && python=.venv/bin/python

if [[ $# -eq 0 ]]; then
  output=${OUTPUT:-runs/demo}
  run=(--data-set SyntheticScenes --model gfnet-96x8 --output "$output")
  "$python" main_dynn.py "${run[@]}" --backbone-epochs 20 --warmup-epochs 6 --num_epoch 16
elif [[ $# -eq 2 ]]; then
  output=${OUTPUT:-checkpoint}
  run=(--data-set "$1" --data-path "$2" --output "$output")
  "$python" main_dynn.py "${run[@]}" --batch 64 --num_epoch 200 --ce_ic_tradeoff 0.75 --lr 0.001
else
  echo "usage: $0 [DATA_SET DATA_PATH]" >&2
  exit 2
fi
"$python" main_dynn.py "${run[@]}" --eval
