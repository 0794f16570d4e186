"""Measures how well models tell foreign images from their own, and whether their exported files flag the same ones.

    python -m tests.benchmarks.novelty FOLDER... [--foreign FOLDER...] [--no-exports]

Each FOLDER is a project in which the pipeline has run up to evaluate, with data/models/classifier and data/splits. Its
foreign images are the test images of the other folders whose data.images is another folder, and of those after
--foreign, of which only data/splits is read, such as that of the built-in sample. Prints a Markdown table with a row
per folder, and the means: the area under the ROC curve of novelty, of foreign images against the own test images (auc),
and the lowest one for the images of a single folder (lowest auc); the percentage of own test images and of foreign
images that are flagged; and for how many percent of all these images the files of conversion.convert flag the same as
the SavedModel. The bars are a mean AUC of 0.97, at most 6% of the own images, and the same flags for 99% of the images
(float16, onnx) and 97% (int8).
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import yaml


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", metavar="FOLDER", nargs="+", type=Path)
    parser.add_argument("--foreign", metavar="FOLDER", nargs="+", type=Path, default=[])
    parser.add_argument("--no-exports", action="store_true", help="do not compare the exported files")
    arguments = parser.parse_args()
    from stages.model import backend

    backend.configure()
    backend.use_one_thread()
    rows = []
    for folder in arguments.folders:
        others = {images_of(other): other for other in [*arguments.folders, *arguments.foreign]}
        others.pop(images_of(folder))
        rows.append({"folder": folder.name} | measure(folder, others.values(), not arguments.no_exports))
        print(rows[-1], flush=True)
    table = pd.DataFrame(rows)
    mean = table.drop(columns="folder").mean().to_dict() | {"folder": "mean"}
    print(pd.concat([table, pd.DataFrame([mean])]).round(4).to_markdown(index=False))


def images_of(folder):
    """The name of a project's folder of images, by which two runs of the same images are known."""
    return Path(yaml.safe_load((folder / "params.yaml").read_text())["data"]["images"]).name


def measure(folder, others, exports):
    """A row of numbers for a project; `others` are those whose test images are foreign."""
    from sklearn.metrics import roc_auc_score

    from stages.common import dataset
    from stages.model import saved_model

    path = str(folder / "data/models/classifier")
    serving = saved_model.load(path).signatures["serving_uint8"]

    def novelty_of(pixels):
        parts = [serving(images=pixels[row : row + 32])["novelty"].numpy() for row in range(0, len(pixels), 32)]
        return np.concatenate(parts)

    own = dataset.load("test", folder / dataset.ROOT).pixels[:]
    foreign = [dataset.load("test", other / dataset.ROOT).pixels[:] for other in others]
    of_own, of_foreign = novelty_of(own), [novelty_of(pixels) for pixels in foreign]

    def auc(values):
        return roc_auc_score(np.repeat([0, 1], [len(of_own), len(values)]), np.concatenate([of_own, values]))

    together = np.concatenate(of_foreign)
    row = {
        "auc": auc(together),
        "lowest auc": min(map(auc, of_foreign)),
        "own flagged %": 100 * (of_own > 1).mean(),
        "foreign flagged %": 100 * (together > 1).mean(),
    }
    return row | (same_flags(folder, path, np.concatenate([own, *foreign]), of_own, together) if exports else {})


def same_flags(folder, path, pixels, *novelty):
    """For how many percent of the images each exported file flags the same as the SavedModel, of such novelty."""
    from stages import export
    from stages.common import dataset
    from stages.formats import conversion

    flagged = np.concatenate(novelty) > 1
    same = {}
    with tempfile.TemporaryDirectory() as place:
        conversion.convert(path, dataset.load("train", folder / dataset.ROOT), Path(place))
        for name, file in export.FILES.items():
            predict = export.LOADERS[Path(file).suffix](Path(place) / file)
            values = np.concatenate([predict(image[np.newaxis])[1] for image in pixels])
            same[f"{name} same %"] = 100 * ((values > 1) == flagged).mean()
    return same


if __name__ == "__main__":
    main()
