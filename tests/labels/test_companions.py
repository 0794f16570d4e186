"""Masks, thumbnails and texts beside images are left out, and named."""

import pytest

from stages.labels import companions
from stages.labels.files import ImageFile


def separate(*paths, folder="mine", classes=()):
    kept, _, _, notes = companions.separate([ImageFile(path) for path in sorted(paths)], folder, classes)
    return {file.path for file in kept}, notes


@pytest.mark.parametrize(
    ("images", "made"),
    [
        (["a/1.png", "b/2.png"], ["a/1_mask.png", "b/2_mask.png"]),
        (["a/benign (1).png"], ["a/benign (1)_mask.png", "a/benign (1)_mask_1.png"]),
        (["a/x.jpg"], ["a/x-seg.png", "a/x_depth.tif", "a/x_thumb.jpg", "a/mask_x.png", "a/X_GT.bmp"]),
        (["images/a/1.jpg", "images/b/2.jpg"], ["masks/a/1.png", "masks/b/2.png"]),
        (["a/images/1.png", "b/images/2.png"], ["a/masks/1.png", "b/masks/2.png"]),
        (["train/1.jpg", "train/2.jpg"], ["train_masks/1_mask.gif", "train_masks/2_mask.gif"]),
        (["JPEGImages/1.jpg", "JPEGImages/2.jpg"], ["SegmentationClass/1.png"]),
        (["a/1.jpg", "a/2.jpg", "b/3.jpg"], ["a/thumbs/1.jpg", "a/thumbs/2.jpg"]),
        (["a/1.jpg", "b/2.jpg"], ["a/1_mask.png", "a/1_mask.jpg", "a/1_MASK.tif", "a/1Mask.png", "b/2.jpg.mask.png"]),
        (["a/img_0.jpg", "b/image.jpg", "c/0_rgb.png"], ["a/mask_0.png", "b/mask.png", "c/0_depth.png", "c/0_seg.png"]),
        (
            ["images/Abyssinian_1.jpg", "images/pug_2.jpg"],
            ["annotations/trimaps/Abyssinian_1.png", "annotations/trimaps/pug_2.png"],
        ),
        (["s/leftImg8bit/train/b/b_1_leftImg8bit.png"], ["s/gtFine/train/b/b_1_gtFine_labelIds.png"]),
        (["train/id/images/id.png"], ["train/id/masks/0a.png", "train/id/masks/0b.png"]),  # one per object
        (["imgs/1.jpg"], ["mask_imgs/1.jpg"]),
        (["original/photos/2020/1.jpg"], ["thumbnails/2020/1.jpg"]),
        (["a/photo.jpg", "b/x.jpg"], ["a/photo-150x150.jpg", "b/x_tn.jpg"]),
    ],
)
def test_what_is_made_from_images_is_left_out_and_named(images, made):
    kept, [note] = separate(*images, *made)
    assert kept == set(images)
    assert note.startswith(f"WARNING: left out: {len(made)} file") and min(made) in note and "Rename" in note


@pytest.mark.parametrize(
    "paths",
    [
        ["mask/1.jpg", "no_mask/1.jpg", "mask/2.jpg", "no_mask/2.jpg"],  # classes of faces
        ["with_mask/1_mask.jpg", "without_mask/1.jpg"],
        ["thumb/1.jpg", "index/1.jpg", "palm/1.jpg"],  # classes of hands
        ["a/death_mask.jpg", "a/2.jpg"],  # no image of that name without the word
        ["label/1.jpg", "box/2.jpg"],
        ["a/1.jpg", "masks/7.jpg", "masks/8.jpg"],  # no pairs, and no folder that is named for images
        ["face/1.jpg", "face_mask/1.jpg"],
        ["labels/1.jpg", "bottles/1.jpg"],
        ["a/cat_0001_224x224.jpg", "a/cat_0002_224x224.jpg"],
    ],
)
def test_images_of_their_own_with_such_names_are_kept(paths):
    assert separate(*paths) == (set(paths), [])


def test_a_class_that_is_named_like_masks_is_kept_if_data_classes_names_it():
    paths = {"photos/1.jpg", "labels/1.jpg"}
    assert len(separate(*paths)[0]) == 1
    assert separate(*paths, classes=["photos", "labels"]) == (paths, [])


@pytest.mark.parametrize(
    "preview",
    [
        "a/MVI_0001.THM",
        "a/My.photoslibrary/resources/derivatives/0/A_1_105_c.jpeg",
        "a/Old.aplibrary/Previews/2010/A.jpg",
        "a/Catalog Previews.lrdata/0/A.jpg",
    ],
)
def test_previews_of_cameras_and_libraries(preview):
    kept, [note] = separate("a/1.jpg", "b/2.jpg", "a/My.photoslibrary/originals/0/A.jpeg", preview)
    assert len(kept) == 3 and preview in note and note.startswith("WARNING: left out: 1 preview")


def test_a_photo_library_that_is_the_folder_of_images():
    kept, [note] = separate("originals/0/A.jpeg", "resources/renders/0/A.jpeg", folder="Pictures/My.photoslibrary/")
    assert kept == {"originals/0/A.jpeg"} and "resources/renders/0/A.jpeg" in note


@pytest.mark.parametrize(
    "texts",
    [
        ["a/1.jpg.supplemental-metadata.json", "b/2.jpg.json"],  # Google Takeout
        ["a/1.json", "b/2.json"],  # labelme
        ["a/1.xml", "b/2.xml"],  # Pascal VOC
        ["a/1.txt", "b/2.txt", "a/classes.txt"],  # YOLO
    ],
)
def test_texts_beside_images(texts):
    kept, [note] = separate("a/1.jpg", "b/2.jpg", *texts)
    assert kept == {"a/1.jpg", "b/2.jpg"}
    assert note == f"Left out: {len(texts)} texts or tables beside images, such as {', '.join(sorted(texts)[:3])}."
