#!/usr/bin/env bash
# DVC's merge driver for Git fails with an "unexpected error" if the cache lacks the other branch's list of a folder's
# files, as after `git fetch` alone, and leaves our *.dvc as it was, without conflict markers: `git commit -a` then
# makes a merge commit that lacks what the other branch added.
#
# Expected: that the driver fetches the list (some bytes of JSON), says that `dvc fetch` is needed, or leaves conflict
# markers, as Git does without it. DVC's guide to merge conflicts names other failures, and not what they leave behind;
# treeverse/dvc#8638 asked for the markers. Seen with dvc 3.67.1 (Python 3.11) and git 2.39.5:
#
#     ERROR: unexpected error - [Errno 2] No such file or directory
#     CONFLICT (content): Merge conflict in photos.dvc
#     conflict markers in photos.dvc: 0
#     committed with -a: base.jpg ours.jpg
#     merged after dvc fetch in the other branch: base.jpg ours.jpg theirs.jpg
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
git config --global init.defaultBranch main
git config --global merge.dvc.driver "dvc git-hook merge-driver --ancestor %O --our %A --their %B"
mkdir store
git init -q --bare hub

add() { # adds a file to the folder and commits it
    touch "photos/$1"
    dvc add -q photos
    git add .
    git commit -q -m "$1"
    dvc push -q
}

git clone -q hub theirs 2> /dev/null
cd theirs
dvc init -q
dvc remote add -q -d store "$place/store"
echo "*.dvc merge=dvc" > .gitattributes
mkdir photos
add base.jpg
git push -q origin main
git clone -q ../hub ../ours
add theirs.jpg
git push -q origin main
cd ../ours
dvc pull -q
add ours.jpg
git fetch -q
seen=$(
    git merge origin/main -m merged 2>&1 | grep -o -e "ERROR: .*directory" -e CONFLICT.*
    echo "conflict markers in photos.dvc: $(grep -c '<<<<<<<' photos.dvc)"
    git commit -q -a -m merged
    dvc pull -q
    echo "committed with -a: $(ls photos | paste -s -d " ")"
    git reset -q --hard HEAD~1
    git checkout -q origin/main
    dvc fetch -q
    git checkout -q main
    git merge -q origin/main -m merged > /dev/null
    dvc pull -q
    echo "merged after dvc fetch in the other branch: $(ls photos | paste -s -d " ")"
)
echo "$seen"
diff <(echo "$seen") - <<'SEEN'
ERROR: unexpected error - [Errno 2] No such file or directory
CONFLICT (content): Merge conflict in photos.dvc
conflict markers in photos.dvc: 0
committed with -a: base.jpg ours.jpg
merged after dvc fetch in the other branch: base.jpg ours.jpg theirs.jpg
SEEN
