"""Work of several people: a bucket on S3, merged branches, a cache that is linked; test_readme.py has a folder."""

import hashlib
import subprocess

import boto3
import pytest
from moto.server import ThreadedMotoServer

from tests.support import STAGES, Project, ran

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


@pytest.mark.parametrize("link", ["hardlink", "symlink"])
def test_stages_write_through_no_link_into_the_cache(small_run, tmp_path, link):
    project = small_run.copy(tmp_path / "project")
    project.run("dvc", "config", "cache.type", link)
    project.run("dvc", "checkout", "--relink")
    outputs = [project.folder / name for name in ("data/splits/train/pixels.npy", "data/training/finetune.csv")]
    assert all(path.is_symlink() or path.stat().st_nlink == 2 for path in outputs)
    before = [path.read_bytes() for path in outputs]
    project.set({"seed": 2})
    for stage in STAGES:  # without DVC, which removes the outputs of a stage before it runs
        project.stage(stage)
    assert all(path.read_bytes() != content for path, content in zip(outputs, before, strict=True))
    for path in project.folder.glob(".dvc/cache/files/md5/*/*"):
        named = (path.parent.name + path.name).removesuffix(".dir")
        assert hashlib.md5(path.read_bytes()).hexdigest() == named, path
