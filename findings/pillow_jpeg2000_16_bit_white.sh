#!/usr/bin/env bash
# Pillow reads white as black in JPEG 2000 files of more than 8 bits per channel, of colours or with transparency: it
# rounds values to 8 bits, and 255.5 or more becomes 256, of which 8 bits keep 0. Grey levels of 16 bits are right.
#
# Expected: (255, 255, 255), as OpenJPEG itself decodes. Seen with pillow 13.0.0 (Python 3.11):
#
#     10 bits: (0, 0, 0)
#     16 bits: (0, 0, 0)
#
# The files are those of tests/decoding/test_bit_depth.py. Fails if the output changes.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"
python3 -m venv .venv
.venv/bin/pip install -q pillow==13.0.0
cat > read.py <<'PYTHON'
import ast
import io
import sys
from pathlib import Path

from PIL import Image

for node in ast.parse(Path(sys.argv[1]).read_text()).body:
    if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "DEEP_JPEG_2000":
        for bits, content in ast.literal_eval(node.value).items():
            print(f"{bits} bits:", Image.open(io.BytesIO(bytes.fromhex(content))).getpixel((0, 1)))
PYTHON
seen=$(.venv/bin/python read.py "$root/tests/decoding/test_bit_depth.py")
echo "$seen"
diff <(echo "$seen") - <<'SEEN'
10 bits: (0, 0, 0)
16 bits: (0, 0, 0)
SEEN
