# An artefact on a Jetson Orin with JetPack 6.1 or 6.2: TensorRT 10.3 of JetPack, Python 3.10. aarch64; build it on the board.
#
#   docker build -f docker/jetpack6.Dockerfile -t vtp-export:jetpack6 .
#   docker run --rm --runtime nvidia -v "$PWD/llava64:/artefact" --user "$(id -u)" -e XDG_CACHE_HOME=/tmp \
#       vtp-export:jetpack6 plan /artefact
#   docker run --rm --runtime nvidia -v "$PWD/llava64:/artefact:ro" --user "$(id -u)" vtp-export:jetpack6 bench /artefact
FROM nvcr.io/nvidia/l4t-jetpack:r36.4.0

# Ubuntu's archive drops old versions of its packages: a pinned one would soon not be found.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends python3-venv && rm -rf /var/lib/apt/lists/*

COPY pyproject.toml README.md LICENSE docker/constraints-python310.txt /src/
COPY vtp_export /src/vtp_export
# TensorRT's Python package is JetPack's; the environment looks through to it.
RUN python3 -m venv --system-site-packages /opt/venv && \
    /opt/venv/bin/pip install --no-cache-dir -c /src/constraints-python310.txt '/src[lint]' 'cuda-bindings==12.9.*'

RUN useradd --uid 10001 --create-home app
USER 10001
ENV PATH=/opt/venv/bin:$PATH
# The artefact that was mounted is whole, and a runtime for it is here.
HEALTHCHECK --interval=10m --timeout=5m CMD ["vtp-export", "inspect", "/artefact"]
ENTRYPOINT ["vtp-export"]
CMD ["--help"]
