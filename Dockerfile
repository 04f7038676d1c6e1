# The page and the HTTP API of deepfake_detect, or any of its commands.
#
#   docker build -t deepfake_detect .                                    # CUDA, or CPU without a GPU
#   docker build -t deepfake_detect:cpu --build-arg TORCH_INDEX=URL .    # CPU only, 5 GB less
#   docker run --rm -p 127.0.0.1:7860:7860 deepfake_detect               # the page at http://127.0.0.1:7860
#   docker run --rm --network none -v "$PWD:/clips:ro" deepfake_detect score-video /clips/clip.mp4
#
# The CUDA libraries are part of torch's packages; the host needs NVIDIA's driver and container
# toolkit (docker run --gpus all). The URL of torch's packages for the CPU is on PyTorch's page "Get
# started". Nothing is downloaded when a container runs.

ARG PYTHON_VERSION=3.11

FROM python:${PYTHON_VERSION}-slim AS build
ARG TORCH_INDEX=
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
# First, since it is large and rarely changes: the layer is reused when the code changes.
RUN pip install --no-cache-dir ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} torch torchvision
WORKDIR /src
COPY pyproject.toml setup.cfg setup.py README.md LICENSE ./
COPY deepfake_detect deepfake_detect
RUN pip install --no-cache-dir ".[app,heic,provenance,train]"

FROM python:${PYTHON_VERSION}-slim
COPY --from=build /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1
RUN useradd --create-home --uid 10001 detector
USER detector
WORKDIR /home/detector
EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:7860/v1/health', timeout=4)"]
ENTRYPOINT ["deepfake-detect"]
# All addresses of the container; `docker run -p` decides which are reachable.
CMD ["app", "--host", "0.0.0.0"]
