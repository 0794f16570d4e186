"""Writes a page on which people try the model: it classifies images in the browser, with the model inside.

    python -m stages.try_page

Reads data/models/classifier and data/runtime/tfjs (TensorFlow.js); writes plots/try.html, one file of about 7 MB that
needs no server and no network. With export.try_page false, the page is one sentence that says how to get it.
"""

if __name__ == "__main__":
    from stages.model import backend

    backend.start()

import math
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ImageColor

from stages.common import cli, files, params, terminal
from stages.formats import browser_model
from stages.model import network, saved_model
from stages.reporting import try_page

PAGE = "plots/try.html"
SAVED_MODEL = "data/models/classifier"
RUNTIME = "data/runtime/tfjs"


def main() -> None:
    p = params.read("export")
    with files.replacing(page=PAGE) as out:
        if not p.export.try_page:
            out.page.write_text(try_page.LEFT_OUT, encoding="utf-8")
            return
        write(saved_model.load(SAVED_MODEL), out.page)
        size = cli.counted_bytes(out.page.stat().st_size)
    terminal.show(f"A page to try the model: {PAGE} ({size}); open it in a browser, or send it to a phone.")


def write(model: Any, path: Path) -> None:
    """Writes the page of a loaded SavedModel."""
    runtime = {file.name: file.read_bytes() for file in Path(RUNTIME).glob("*")}
    path.write_text(try_page.render(*describe(model), runtime), encoding="utf-8")


def describe(model: Any) -> tuple[dict[str, Any], np.ndarray, np.ndarray]:
    """Returns what the page's script needs to know of a loaded SavedModel, and its arrays (browser_model.convert)."""
    classes = [name.decode() for name in model.class_names.numpy()]
    size, threshold = int(model.image_size), float(model.novelty_threshold)
    plain = network.build(size, len(classes))
    plain.set_weights([weight.numpy() for weight in model.weights])
    novelty = [model.novelty_mean.numpy(), model.novelty_components.numpy()]
    layers, kernels, biases = browser_model.convert(plain, novelty)
    return (
        {
            "classes": classes,
            "names": [cli.printable(name) for name in classes],
            "size": size,
            "background": ImageColor.getrgb(model.background.numpy().decode()),
            "threshold": float(model.threshold),
            "set_threshold": float(model.set_threshold),
            "novelty_threshold": threshold if math.isfinite(threshold) else None,  # JSON has no infinity
            "novelty_components": len(novelty[1]),
            "layers": layers,
        },
        kernels,
        biases,
    )


if __name__ == "__main__":
    cli.run(main)
