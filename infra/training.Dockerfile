# The image of the training job. Build it from the repository's root:
#   docker build -f infra/training.Dockerfile -t tidemill-training .
# It carries layers/core and layers/training, JAX with CUDA, and layers/serving for the jobs that score large files.
FROM python:3.12-slim

ENV PYTHONDONTWRITEBYTECODE=0 PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 \
    PYTHONPATH=/opt/tidemill \
    XLA_PYTHON_CLIENT_PREALLOCATE=false \
    JAX_COMPILATION_CACHE_DIR=/work/jax-cache

# Everything by hash. The CUDA plugin has the version of the pinned jax, so it cannot drift from it.
COPY layers/core/requirements.txt /tmp/core.txt
COPY layers/tables/requirements.txt /tmp/tables.txt
COPY layers/pictures/requirements.txt /tmp/pictures.txt
COPY layers/serving/requirements.txt /tmp/serving.txt
COPY layers/training/requirements.txt /tmp/training.txt
COPY layers/training/requirements-cuda.txt /tmp/cuda.txt
RUN pip install --require-hashes -r /tmp/core.txt -r /tmp/tables.txt -r /tmp/pictures.txt -r /tmp/serving.txt -r /tmp/training.txt -r /tmp/cuda.txt \
    && rm /tmp/*.txt

COPY layers/core/tidemill /opt/tidemill/tidemill
COPY layers/training/tidemill /opt/tidemill/tidemill
COPY layers/serving/tidemill /opt/tidemill/tidemill
RUN python -m compileall -q /opt/tidemill && useradd --uid 10001 --create-home miller \
    && mkdir /work && chown 10001:10001 /work

# The root file system is read-only in the job; this volume is where it works.
VOLUME ["/work"]
ENV TMPDIR=/work
USER 10001
CMD ["python", "-m", "tidemill.training.job"]
