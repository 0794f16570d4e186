"""Sharing a run through a bucket on S3, on a local server; tests/test_readme.py shares through a folder."""

import subprocess

import boto3
import pytest
from moto.server import ThreadedMotoServer

from tests.support import Project, ran

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
