# The page and the HTTP interface of deepfake_detect, or any of its tools.
#
#   docker build -t deepfake_detect .                                    # CUDA, and CPU where there is none
#   docker build -t deepfake_detect:cpu --build-arg TORCH_INDEX=URL .    # CPU alone, 5 GB less
#   docker run --rm -p 127.0.0.1:7860:7860 deepfake_detect               # the page at http://127.0.0.1:7860
#   docker run --rm --network none -v "$PWD:/clips:ro" deepfake_detect score-video /clips/clip.mp4
#
# The CUDA libraries come with torch's own packages; the host needs NVIDIA's driver and container
# toolkit (docker run --gpus all). The URL of torch's packages for the CPU is on PyTorch's page "Get
# started". Nothing is downloaded when a container runs.

ARG PYTHON_VERSION=3.11

FROM python:${PYTHON_VERSION}-slim AS build
ARG TORCH_INDEX=
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
# First and apart, since it is large and rarely changes: the layer is kept when the code changes.
RUN pip install --no-cache-dir ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} torch torchvision
WORKDIR /src
COPY pyproject.toml setup.cfg README.md LICENSE ./
COPY deepfake_detect deepfake_detect
RUN pip install --no-cache-dir ".[app,provenance]"

FROM python:${PYTHON_VERSION}-slim
COPY --from=build /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1
RUN useradd --create-home --uid 10001 detector
USER detector
WORKDIR /home/detector
EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:7860/health', timeout=4)"]
ENTRYPOINT ["deepfake-detect"]
# All addresses of the container; which of them can be reached is for `docker run -p` to say.
CMD ["app", "--host", "0.0.0.0"]
