# An artefact on NVIDIA GPUs of a server: TensorRT 10.13 of the base image, Python 3.12. x86_64.
#
#   docker build -f docker/server.Dockerfile -t vtp-export:server .
#   docker run --rm --gpus all -v "$PWD/llava64:/artefact" --user "$(id -u)" -e XDG_CACHE_HOME=/tmp vtp-export:server \
#       plan /artefact
#   docker run --rm --gpus all -v "$PWD/llava64:/artefact:ro" --user "$(id -u)" vtp-export:server bench /artefact
#
# The plan runs only where TensorRT, compute capability and platform are those of the build: see docs/tensorrt.md.
FROM nvcr.io/nvidia/tensorrt:25.08-py3

COPY pyproject.toml README.md LICENSE constraints.txt /src/
COPY vtp_export /src/vtp_export
# TensorRT's Python package is the system's; the environment looks through to it.
RUN python3 -m venv --system-site-packages /opt/venv && \
    /opt/venv/bin/pip install --no-cache-dir -c /src/constraints.txt '/src[lint]' 'cuda-bindings==13.0.*'

RUN useradd --uid 10001 --create-home app
USER 10001
ENV PATH=/opt/venv/bin:$PATH
# The artefact that was mounted is whole, and a runtime for it is here.
HEALTHCHECK --interval=10m --timeout=5m CMD ["vtp-export", "inspect", "/artefact"]
ENTRYPOINT ["vtp-export"]
CMD ["--help"]
