"""The page on which people try the model: the template, filled with the model, its runtime and the page's scripts."""

import base64
import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from stages.charts import base
from stages.common import cli
from stages.reporting import formatting

LEFT_OUT = """<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Try the model</title>
<p>This page is left out: to have it, set export.try_page to true in params.yaml, and run <code>dvc repro</code>.</p>
"""
MOST_NAMED = 10  # maximum number of classes that the heading lists in full


def render(description: dict[str, Any], kernels: np.ndarray, biases: np.ndarray, runtime: Mapping[str, bytes]) -> str:
    """Returns the page as HTML.

    Args:
        description: what try.js needs to know of the model.
        kernels: float16 [W], little-endian.
        biases: float32 [B], little-endian.
        runtime: files of TensorFlow.js by name: its scripts, the first of which defines what the others add to, and a
            wasm file.

    Raises:
        UserError: the files are no runtime.
    """
    scripts = [runtime[name].decode() for name in sorted(runtime, reverse=True) if name.endswith(".js")]
    wasm = [content for name, content in runtime.items() if name.endswith(".wasm")]
    if not scripts or len(wasm) != 1 or any("</script" in script or "<!--" in script for script in scripts):
        raise cli.UserError("data/runtime/tfjs holds no TensorFlow.js: run `dvc repro`, which fetches it.")
    scripts += [formatting.script(name)[0] for name in ("try_model.js", "try.js")]
    return formatting.template("try.html.jinja", autoescape=True).render(
        names=description["names"],
        most_named=MOST_NAMED,
        size=description["size"],
        data=formatting.as_json(description),
        binary={
            name: base64.b64encode(content).decode()
            for name, content in {"kernels": kernels.tobytes(), "biases": biases.tobytes(), "wasm": wasm[0]}.items()
        },
        scripts=scripts,
        hashes=[base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts],
        COLOURS=base.CSS,
    )
