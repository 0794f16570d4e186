"""Work of several people: a bucket on S3, merged branches, a cache that is linked; test_readme.py has a folder."""

import hashlib
import re
import shutil
import subprocess

import boto3
import pytest
from moto.server import ThreadedMotoServer

from tests.support import ROOT, STAGES, Project, clone_project, environment, identify, make_images, ran

pytestmark = pytest.mark.slow


@pytest.fixture
def s3(monkeypatch):
    """The address of a local S3 server with the bucket "bucket"."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    address = "http://{}:{}".format(*server.get_host_and_port())
    boto3.client("s3", endpoint_url=address).create_bucket(Bucket="bucket")
    yield address
    server.stop()


def test_what_is_pushed_to_a_bucket_and_pulled_need_not_be_run(small_run, tmp_path, s3):
    first, clone = small_run.copy(tmp_path / "project"), Project(tmp_path / "clone")
    first.run("dvc", "remote", "add", "--default", "shared", "s3://bucket/images")
    first.run("dvc", "remote", "modify", "shared", "endpointurl", s3)
    first.commit()
    first.run("dvc", "push")
    subprocess.run(["git", "clone", "-q", first.folder, clone.folder], check=True)
    clone.run("dvc", "pull")
    assert ran(clone.run("dvc", "repro")) == []
    assert (clone.folder / "data/models/classifier/saved_model.pb").exists()
    assert clone.run("git", "status", "--porcelain") == ""


def test_stages_write_through_no_link_into_the_cache(small_run, tmp_path):
    project = small_run.copy(tmp_path / "project")
    project.run("dvc", "config", "cache.type", "hardlink")  # of symbolic ones: tests/common/test_files.py
    project.run("dvc", "checkout", "--relink")
    outputs = [project.folder / name for name in ("data/splits/train/pixels.npy", "data/training/finetune.csv")]
    assert all(path.stat().st_nlink == 2 for path in outputs)
    before = [path.read_bytes() for path in outputs]
    project.set({"seed": 2})
    for stage in STAGES:  # without DVC, which removes the outputs of a stage before it runs
        project.stage(stage)
    assert all(path.read_bytes() != content for path, content in zip(outputs, before, strict=True))
    for path in project.folder.glob(".dvc/cache/files/md5/*/*"):
        named = (path.parent.name + path.name).removesuffix(".dir")
        assert hashlib.md5(path.read_bytes()).hexdigest() == named, path


def add_images(project, name, animal, seed):
    """Adds four images of one class on a branch, runs `split`, and commits."""
    project.run("git", "switch", "--quiet", "--create", name)
    new = make_images(project.folder.parent / f"of {name}", {animal: 4}, seed=seed)
    for path in new.glob("*/*"):
        shutil.copy(path, project.folder / "data/mine" / animal / f"{name} {path.name}")
    project.run("dvc", "repro", "split")
    project.commit()


def test_a_merge_as_documented_keeps_the_images_of_both_branches(tmp_path):
    section = (ROOT / "docs/reproducibility.md").read_text().partition("## How do two people add images?\n")[2]
    commands = re.search(r"```console\n(.*?)```", section, re.DOTALL)[1].replace("dvc repro", "dvc repro split")
    (tmp_path / "anna").mkdir()
    anna, ben = clone_project(tmp_path / "anna"), Project(tmp_path / "ben")
    make_images(anna.folder / "data/mine", {"ant": 10, "bee": 10})
    anna.set({"data.images": "data/mine", "image_size": 32})
    anna.run("dvc", "remote", "add", "--default", "shared", tmp_path / "store")
    anna.run("dvc", "add", "data/mine")
    anna.commit()
    anna.run("dvc", "repro", "split")
    anna.commit()
    anna.run("dvc", "push")
    subprocess.run(["git", "clone", "-q", anna.folder, ben.folder], check=True)
    identify(ben)
    ben.run("dvc", "pull", "data/mine.dvc", "split")
    add_images(anna, "anna", "ant", seed=1)
    anna.run("dvc", "push")
    add_images(ben, "ben", "bee", seed=2)
    merged = subprocess.run(["bash", "-c", commands], cwd=ben.folder, env=environment(), text=True, capture_output=True)
    assert merged.returncode == 0 and "Merge conflict in dvc.lock" in merged.stdout, merged.stdout + merged.stderr
    assert "Merge conflict in data/mine.dvc" not in merged.stdout
    assert len(list((ben.folder / "data/mine").glob("*/*.png"))) == 28
    assert "28 images of data/mine" in merged.stdout
    assert "up to date" in ben.run("dvc", "status", "split", "data/mine.dvc")
    assert ben.run("git", "status", "--porcelain") == ""
    assert ben.run("git", "log", "--format=%s", "-1") == "Both of our images\n"


def test_a_merge_leaves_locks_that_dvc_can_read_in_clones_without_its_merge_driver(project):
    identify(project)
    [home] = project.run("git", "branch", "--show-current").split()
    locks = ["dvc.lock", "data/alpaca/dvc.lock", "metrics/frozen.json"]
    texts = {}
    for branch in ("theirs", "ours"):
        project.run("git", "switch", "--quiet", "--create", branch, home)
        for name in locks:
            path = project.folder / name
            path.write_text(texts.setdefault((branch, name), path.read_text().replace("2", str(len(branch)))))
        project.commit()
    project.run("git", "merge", "theirs", status=1)
    assert project.run("git", "diff", "--name-only", "--diff-filter=U").split() == sorted(locks)
    for name in locks:
        assert (project.folder / name).read_text() == texts["ours", name]
