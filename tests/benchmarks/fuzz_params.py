"""Fuzzing: broken and odd files of parameters for `params.read`.

    python -m tests.benchmarks.fuzz_params [--cases 10000] [--seed 1]

Each case is params.yaml with flipped bits, lines that are cut, moved or doubled, or values in place of others, and must
be accepted or end in a UserError of one line. Prints the outcomes for each kind of case, and the slowest; the exit
status is 1 after any other exception, or a text of several lines.
"""

import argparse
import re
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from stages.common import params
from stages.common.cli import UserError

LONGEST = 3000  # characters of an error
# Values that YAML, Python's numbers and dates, regular expressions and pydantic may stumble over.
VALUES = [
    "",
    "~",
    "[]",
    "{}",
    "[[]]",
    "{1: 2}",
    "{~: 2}",
    "[a, b]",
    "{[a]: b}",
    "? [a]",
    "!!int x",
    "!!bool x",
    "!!set {a}",
]
VALUES += [
    "!!float x",
    "!!timestamp x",
    "!!binary ++",
    "!!omap [a: 1]",
    "!!python/name:os.system",
    "!mine 1",
    "&a [*a]",
    "*a",
]
VALUES += [
    "2026-13-45",
    "2026-01-31",
    "2026-01-31T10:00:00+99:99",
    "1e999",
    "-1e999",
    ".nan",
    "-.inf",
    "0x" + "f" * 5000,
]
VALUES += [
    "9" * 6000,
    "0." + "9" * 6000,
    "'" + "9" * 6000 + "'",
    "1/" + "9" * 6000,
    "-0",
    "1_0",
    "0o9",
    "1:30",
    "yes",
    "'\\0'",
]
VALUES += [
    "[" * 500,
    "{" * 500,
    "- " * 500,
    "[" * 200 + "]" * 200,
    "'" + "(" * 5000 + ")" * 5000 + "'",
    "'(a{4294967296})'",
    "'(a{1,2}{3})'",
]
VALUES += [
    "'(?P<a>b)(?(a)c|d)'",
    "'(?<=a*)(b)'",
    "'(\\p{L})'",
    "'[[a](b)'",
    '"\\ud800"',
    '"\\e[31m"',
    "'" + "x" * 10**5 + "'",
]
VALUES += [
    "precision>=" + "9" * 5000,
    "precision>=nan",
    "precision>=1e-400",
    "{accuracy: [1]}",
    "{accuracy: .nan}",
    "{1: 1}",
]
VALUES += [
    "'#12345'",
    "'²/³'",
    "'٣/٥'",
    "|\n  a\n  b",
    ">-\n  a",
    "'a\n\n  b'",
    "\t1",
    "1 # a",
    "%YAML 1.9",
    "--- 1",
    "... 1",
    "@a",
    "`a",
]
KEYS = [
    "1",
    "~",
    "''",
    "[a]",
    "{a: b}",
    "true",
    "1.5",
    "2026-01-31",
    "seed",
    "data",
    "? a",
    "<<",
    "=",
    '"\\e[31m"',
    "x" * 900,
]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    source, rows = Path("params.yaml").read_bytes(), []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "params.yaml")
        for number in tqdm(range(arguments.cases), "cases", disable=None):
            kind = list(KINDS)[number % len(KINDS)]
            path.write_bytes(KINDS[kind](np.random.default_rng([arguments.seed, number]), source))
            start = time.perf_counter()
            row = {"case": number, "kind": kind, "outcome": outcome(path)}
            rows.append(row | {"seconds": round(time.perf_counter() - start, 3)})
    table = pd.DataFrame(rows)
    known = table["outcome"].isin(["accepted", "one line"])
    print(pd.crosstab(table["kind"], table["outcome"].where(known, "unexpected")).to_string())
    print(f"\nThe slowest:\n{table.nlargest(3, 'seconds').to_string(index=False)}")
    if not known.all():
        sys.exit(table[~known].drop_duplicates("outcome").to_string(index=False))


def outcome(path):
    """Returns "accepted", "one line", or what is unexpected."""
    try:
        params.read(*params.Params.model_fields, path=path)
    except UserError as error:
        text = str(error)
        return "one line" if text.isprintable() and len(text) <= LONGEST else f"text {text[:200]!r}"
    except Exception as error:
        return repr(error)[:200]
    return "accepted"


def flip(rng, data):
    array = np.frombuffer(data, np.uint8).copy()
    for place in rng.integers(len(array), size=rng.integers(1, 20)):
        array[place] ^= 1 << rng.integers(8)
    return array.tobytes()


def cut(rng, data):
    """The file without its end, or without a stretch of it."""
    a, b = rng.integers(len(data), size=2)
    return data[:a] + data[b if a < b else len(data) :]


def shuffle(rng, data):
    """Lines that are left out, doubled, moved, or indented otherwise."""
    lines = data.splitlines()
    for _ in range(rng.integers(1, 4)):
        line = lines.pop(rng.integers(len(lines)))
        changed = [[], [line, line], [line], [b" " * rng.integers(1, 4) + line], [line.strip()], [b"\t" + line]]
        place = rng.integers(len(lines))
        lines[place:place] = changed[rng.integers(len(changed))]
    return b"\n".join(lines) + b"\n"


def replace_value(rng, data):
    lines = data.decode().splitlines()
    places = [place for place, line in enumerate(lines) if re.match(r" *\w+: ", line)]
    for place in rng.choice(places, rng.integers(1, 4)):
        lines[place] = re.sub(r": .*", lambda _: f": {VALUES[rng.integers(len(VALUES))]}", lines[place], count=1)
    return "\n".join(lines).encode(errors="surrogatepass") + b"\n"


def replace_key(rng, data):
    lines = data.decode().splitlines()
    places = [place for place, line in enumerate(lines) if re.match(r" *\w+:", line)]
    place = rng.choice(places)
    lines[place] = re.sub(r"\w+(?=:)", lambda _: KEYS[rng.integers(len(KEYS))], lines[place], count=1)
    return "\n".join(lines).encode() + b"\n"


def encode(rng, data):
    """The file in another encoding, with a letter that is not ASCII."""
    text = data.decode().replace("data/digits", "data/Müller")
    kinds = ["latin-1", "utf-16", "utf-16-le", "utf-32", "utf-8-sig", "cp437", "utf-7", "cp500"]
    return text.encode(kinds[rng.integers(len(kinds))])


def whole(rng, data):
    """A value in place of the whole file."""
    return VALUES[rng.integers(len(VALUES))].encode(errors="surrogatepass")


KINDS = {
    "bits flipped": flip,
    "cut": cut,
    "lines changed": shuffle,
    "values replaced": replace_value,
    "key replaced": replace_key,
    "encoded otherwise": encode,
    "a value alone": whole,
}


if __name__ == "__main__":
    main()
