#!/usr/bin/env bash
# DVC writes parameters and dependencies of a stage to dvc.lock as they are when its command has ended: values edited
# while it runs stand beside outputs of the old values, `dvc status` finds nothing to do, and the run cache gives these
# outputs to whoever asks for the new values. treeverse/dvc#11058 reports it of dependencies.
#
# Expected: the values from before the command, so that the stage is run again. Seen with dvc 3.67.1 (Python 3.11):
# params.yaml and data.txt held "rate: 1" while the command read them, and "rate: 2" before it ended.
#
#     dvc.lock: rate: 2, data.txt as edited
#     model.txt: rate: 1 rate: 1
#     dvc status: Data and pipelines are up to date.
#     dvc repro without model.txt: Stage 'train' is cached - skipping run, checking out outputs
#     model.txt: rate: 1 rate: 1
#
# Fails if the output changes.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"
python3 -m venv .venv
.venv/bin/pip install -q dvc==3.67.1
export DVC_NO_ANALYTICS=true
mkdir project
cd project
dvc=../.venv/bin/dvc
$dvc init -q --no-scm
cat > dvc.yaml <<'YAML'
stages:
  train:
    cmd: cat params.yaml data.txt > model.txt; touch ../read; until [ -e ../edited ]; do sleep 0.1; done
    deps: [data.txt]
    params: [rate]
    outs: [model.txt]
YAML
echo "rate: 1" | tee params.yaml > data.txt
$dvc repro -q &
repro=$!
for _ in {1..600}; do [ -e ../read ] || sleep 0.1; done
echo "rate: 2" | tee params.yaml > data.txt
touch ../edited
wait $repro
edited=$(md5sum data.txt | cut -c 1-32)
seen=$(
    echo "dvc.lock: $(grep -o 'rate: .*' dvc.lock), data.txt $(grep -q "$edited" dvc.lock && echo as edited)"
    echo "model.txt: $(paste -s -d ' ' model.txt)"
    echo "dvc status: $($dvc status)"
    rm model.txt
    echo "dvc repro without model.txt: $($dvc repro | grep train)"
    echo "model.txt: $(paste -s -d ' ' model.txt)"
)
echo "$seen"
diff <(echo "$seen") - <<'SEEN'
dvc.lock: rate: 2, data.txt as edited
model.txt: rate: 1 rate: 1
dvc status: Data and pipelines are up to date.
dvc repro without model.txt: Stage 'train' is cached - skipping run, checking out outputs
model.txt: rate: 1 rate: 1
SEEN
