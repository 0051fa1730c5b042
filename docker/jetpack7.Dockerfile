# An artefact on a Jetson Thor with JetPack 7.0 or 7.1: TensorRT 10.13 of the base image, Python 3.12. aarch64.
#
#   docker build -f docker/jetpack7.Dockerfile -t vtp-export:jetpack7 .
#   docker run --rm --runtime nvidia -v "$PWD/llava64:/artefact" --user "$(id -u)" -e XDG_CACHE_HOME=/tmp \
#       vtp-export:jetpack7 plan /artefact
#   docker run --rm --runtime nvidia -v "$PWD/llava64:/artefact:ro" --user "$(id -u)" vtp-export:jetpack7 bench /artefact
#
# From JetPack 7 on, boards run the server's images for aarch64.
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
