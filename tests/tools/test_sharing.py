"""Sharing images, models and experiments through remotes of DVC: one small project that has run."""

import shutil
import subprocess

import boto3
import pytest
from moto.server import ThreadedMotoServer

from tests.support import Project, ran, readme_block

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


@pytest.fixture(scope="module")
def pushed(run_with_sources, tmp_path_factory):
    """A copy that has pushed into a folder, as the README has it."""
    folder = tmp_path_factory.mktemp("pushed")
    project = run_with_sources.copy(folder / "project")
    for line in readme_block("dvc push"):
        project.run("bash", "-c", line.replace("/mnt/shared", str(folder)))
    return project


@pytest.fixture
def pushed_to_s3(run_with_sources, tmp_path, s3):
    project = run_with_sources.copy(tmp_path / "project")
    add, *others = readme_block("dvc push")
    project.run("bash", "-c", add.replace("/mnt/shared/images", "s3://bucket/images"))
    project.run("dvc", "remote", "modify", "shared", "endpointurl", s3)
    for line in others:
        project.run("bash", "-c", line)
    return project


@pytest.mark.parametrize("where", ["pushed", "pushed_to_s3"])
def test_what_is_pushed_and_pulled_need_not_be_run(tmp_path, where, request):
    first, clone = request.getfixturevalue(where), Project(tmp_path / "clone")
    subprocess.run(["git", "clone", "-q", first.folder, clone.folder], check=True)
    for line in readme_block("dvc pull"):
        assert ran(clone.run("bash", "-c", line)) == []
    assert (clone.folder / "data/models/finetuned/saved_model.pb").exists()
    assert clone.run("git", "status", "--porcelain") == ""


def test_another_project_gets_a_registered_model_by_its_name(run_with_sources, pushed, tmp_path):
    first, elsewhere = pushed.copy(tmp_path / "first"), Project(tmp_path / "elsewhere")
    for name in ("classifier", "phone"):
        first.run("gto", "register", name)
    hosted = str(tmp_path / "hosted.git")
    subprocess.run(["git", "clone", "-q", "--bare", first.folder, hosted], check=True)
    shutil.rmtree(first.folder)
    elsewhere.folder.mkdir()
    elsewhere.run("dvc", "artifacts", "get", hosted, "phone")
    elsewhere.run("dvc", "artifacts", "get", hosted, "classifier", "--rev", "v0.0.1", "-o", "model")
    exported = {path.name for path in (elsewhere.folder / "exported").iterdir()}
    assert exported == {"float16.tflite", "int8.tflite", "labels.txt", "model.onnx"}
    for name, copy in {"exported": "exported", "finetuned": "model"}.items():
        original = run_with_sources.folder / "data/models" / name
        for path in original.rglob("*.*"):
            assert (elsewhere.folder / copy / path.relative_to(original)).read_bytes() == path.read_bytes()
