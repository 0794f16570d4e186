# The packages; the project is mounted at /project: see docs/installation.md.
FROM python:3.12-slim
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends git && rm -rf /var/lib/apt/lists/*
COPY requirements.txt /tmp/
RUN pip install --no-cache-dir -r /tmp/requirements.txt
ENV HOME=/tmp USER=retrain
WORKDIR /project
CMD ["dvc", "repro"]
