"""ViP-LLaVA (`VipLlavaForConditionalGeneration`): several hidden states side by side, a norm before the projector.

CLS is always dropped. The states are [-2, -5, -8, -11, 6] where `config.json` names none.
"""

from collections.abc import Collection

from vtp_export.errors import ModelError, shown
from vtp_export.models._checkpoint import Checkpoint
from vtp_export.models._config import read_layers
from vtp_export.models._loading import Parts, load_parts
from vtp_export.models._projectors import TwoLayers
from vtp_export.models._towers import CLIP
from vtp_export.models._weights import Weights
from vtp_export.models.base import LoadedModel
from vtp_export.models.llava import language_width, projector_act, read_tower

LAYERS = [-2, -5, -8, -11, 6]


def load(checkpoint: Checkpoint, needs: Collection[str]) -> LoadedModel:
    """Load the tower and the projector of a ViP-LLaVA; the language model is never read.

    Raises:
        ModelError: another tower than CLIP, or missing parts.
    """
    raw = checkpoint.config
    weights = Weights(checkpoint)
    tower, config = read_tower(checkpoint)
    if tower is not CLIP:
        raise ModelError(f"the vision tower of '{checkpoint.id}' is a {tower.what}; vipllava needs a {CLIP.what}")
    layers = raw.get("vision_feature_layer", raw.get("vision_feature_layers", LAYERS))
    eps = raw.get("projector_layernorm_eps", 1e-5)
    if type(eps) not in (int, float) or not 0 <= eps < 1:
        raise ModelError(
            f"projector_layernorm_eps of '{checkpoint.id}' is {shown(eps)}; a number from 0 to 1 is needed"
        )
    parts = Parts(
        family="vipllava",
        tower=tower,
        config=config,
        states=read_layers(layers, config.num_hidden_layers),
        projector=TwoLayers(
            width=language_width(checkpoint, weights), act=projector_act(checkpoint), norm_eps=float(eps)
        ),
        processor="CLIPImageProcessor",
    )
    return load_parts(checkpoint, weights, parts, needs)
