#!/usr/bin/env bash
# dvc.api.read of an output that neither the cache nor a remote has, as in a clone that was not pulled, says of a file
# that it is no DVC output, although its *.dvc is there; and of a file in a folder it raises an error that is neither a
# DvcException nor an OSError, so a program that catches DVC's own errors ends in a traceback.
#
# Expected: one error of DVC's own for both, dvc.exceptions.FileMissingError, which dvc.api.open's code has for a file
# that is tracked and missing. Seen with dvc 3.67.1 (Python 3.11):
#
#     single.txt: PathMissingError, DvcException True, names the file as no DVC output True
#     folder/one.txt: DataIndexDirError, DvcException False, OSError False
#
# Fails if the output changes.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"
python3 -m venv .venv
.venv/bin/pip install -q dvc==3.67.1
export PATH="$place/.venv/bin:$PATH" HOME="$place" DVC_NO_ANALYTICS=true
git config --global user.name finding
git config --global user.email finding@example.org
git init -q there
cd there
dvc init -q
mkdir folder
echo 1 > folder/one.txt
echo 2 > single.txt
dvc add -q folder single.txt
git add .
git commit -q -m data
git clone -q . ../here
cd ../here
seen=$(python - <<'PROGRAM'
import dvc.api
from dvc.exceptions import DvcException

try:
    dvc.api.read("single.txt")
except Exception as error:
    denied = "neither as a DVC output nor as a Git-tracked file" in str(error)
    print(f"single.txt: {type(error).__name__}, DvcException {isinstance(error, DvcException)}, "
          f"names the file as no DVC output {denied}")
try:
    dvc.api.read("folder/one.txt")
except Exception as error:
    print(f"folder/one.txt: {type(error).__name__}, DvcException {isinstance(error, DvcException)}, "
          f"OSError {isinstance(error, OSError)}")
PROGRAM
)
echo "$seen"
diff <(echo "$seen") - <<'SEEN'
single.txt: PathMissingError, DvcException True, names the file as no DVC output True
folder/one.txt: DataIndexDirError, DvcException False, OSError False
SEEN
