"""The twin of an artefact: the eager graph in its precision, made again from what the manifest says."""

from vtp_export.errors import ArtefactError
from vtp_export.graphs.pruned import PrunedFrontend
from vtp_export.precision.images import range_images
from vtp_export.precision.lowering import lowered
from vtp_export.precision.ranges import measured
from vtp_export.spec import PrecisionRecord, Preprocessing


def twin_of(graph: PrunedFrontend, record: PrecisionRecord, preprocessing: Preprocessing) -> PrunedFrontend:
    """The eager graph that computes what an artefact of that precision does.

    Raises:
        VtpError: it takes the range images, and they are not there, or are others now.
    """
    if record.activations != "static":
        return lowered(graph, record)
    assert record.images is not None
    images = range_images(record.images, record.count, preprocessing)
    if images.sha256 != record.data_sha256:
        digests = f"SHA-256 {images.sha256[:12]}... instead of {str(record.data_sha256)[:12]}..."
        raise ArtefactError(f"the range images '{record.images}' are not those of the export ({digests}); export again")
    return lowered(graph, record, measured(graph, images.batches()))
