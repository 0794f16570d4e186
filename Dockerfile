# The packages; the project is mounted at /project: see docs/installation.md.
FROM python:3.12-slim
# Git and DVC refuse a folder of another user, as a mounted one may be, unless it is named here.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends git && rm -rf /var/lib/apt/lists/* \
    && git config --system safe.directory /project
COPY requirements-hashes.txt /tmp/
RUN pip install --no-cache-dir --require-hashes -r /tmp/requirements-hashes.txt
# A user that is not root and has no home, as the one that `docker run -u` names.
ENV HOME=/tmp USER=retrain
USER 1000:1000
WORKDIR /project
CMD ["dvc", "repro"]
