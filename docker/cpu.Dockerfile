# An artefact on CPUs: ONNX Runtime, no torch. x86_64 and aarch64.
#
#   docker build -f docker/cpu.Dockerfile -t vtp-export:cpu .
#   docker run --rm -v "$PWD/llava64:/artefact:ro" -v "$PWD/photos:/data" --user "$(id -u)" vtp-export:cpu \
#       run /artefact /data/photo.jpg --out /data/tokens.npz
FROM python:3.12.11-slim-bookworm

COPY pyproject.toml README.md LICENSE constraints.txt /src/
COPY vtp_export /src/vtp_export
RUN python3 -m venv /opt/venv && /opt/venv/bin/pip install --no-cache-dir -c /src/constraints.txt '/src[onnxruntime,lint]'

RUN useradd --uid 10001 --create-home app
USER 10001
ENV PATH=/opt/venv/bin:$PATH
# The artefact that was mounted is whole, and a runtime for it is here.
HEALTHCHECK --interval=10m --timeout=5m CMD ["vtp-export", "inspect", "/artefact"]
ENTRYPOINT ["vtp-export"]
CMD ["--help"]
