"""What the golden record holds of a picture."""

import numpy as np
import torch

from vtp_export.graphs.assembly import load_model
from vtp_export.parity.golden import ARRAYS
from vtp_export.reference.erank import effective_rank
from vtp_export.runtime.artefact import open_artefact
from vtp_export.runtime.preprocess import values_of


def test_the_effective_rank_is_that_of_the_reference(embedded_artefact):
    """Graph and format may lie on either side of it, each within its gate and twice as far from one another."""
    manifest = open_artefact(embedded_artefact).manifest
    with np.load(embedded_artefact / ARRAYS) as arrays:
        views, recorded = arrays["views"], arrays["output.erank"]
    frontend = load_model("tiny-llava", {"projected"}).frontend
    for view, erank in zip(views[:3], recorded, strict=False):
        pixels = torch.from_numpy(values_of(view[None], manifest.preprocessing))
        with torch.inference_mode():
            features = frontend.encode(pixels, {"projected"}).projected
        assert abs(erank / effective_rank(features[0].numpy(), center=True) - 1) < 1e-7
