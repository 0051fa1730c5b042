"""OpenVINO GenAI's pipeline for LLaVA, asked about pictures.

It gives no tensors back: what can be judged of it is the vision model in its folder, and the answers.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from vtp_export.backends.openvino import told_by
from vtp_export.benchmarks.base import Decoded
from vtp_export.errors import ModelError, UnavailableError
from vtp_export.extras import install
from vtp_export.integrations.openvino_folder import Folder, openvino
from vtp_export.runtime.machine import cores

MARK = "<image>"
"""What the pipeline takes for a picture, in a prompt."""


class Pipeline:
    """A folder, opened by OpenVINO GenAI on the CPU, in float32 whatever the CPU prefers.

    Its own way with a chat template leaves out the token that begins a text where the template does not write it; so
    it is given whole prompts, and no template is applied.

    Args:
        folder: as it was opened.
        around: the texts of a prompt before its picture and behind it, for a question; see `prompts.Frames`.
        threads: CPU threads, or None for as many as the process may use.

    Raises:
        UnavailableError: openvino-genai is not installed.
        ModelError: it refuses the folder.
    """

    def __init__(self, folder: Folder, around: Callable[[str], tuple[str, str]], threads: int | None = None) -> None:
        """See the class."""
        try:
            import openvino_genai
        except ImportError as error:
            raise UnavailableError(f"openvino-genai is not installed: {install('openvino-genai')}") from error
        self._genai, self._around = openvino_genai, around
        settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads or cores()}
        try:
            self._pipe = openvino_genai.VLMPipeline(str(folder.path), "CPU", **settings)
        except RuntimeError as error:
            raise ModelError(f"OpenVINO GenAI refuses '{folder.path}': {told_by(error)}") from error
        self._config = self._pipe.get_generation_config()
        self._config.apply_chat_template, self._config.do_sample = False, False
        self._ends = {self._config.eos_token_id, *self._config.stop_token_ids}
        self.waits: list[float] = []
        """Milliseconds from the picture, resized already, to the first token: of every question so far."""
        self.prompt = 0
        """Tokens of the last prompt, the picture's among them."""

    def answer(self, view: np.ndarray, prompts: Sequence[str], longest: int) -> list[Decoded]:
        """Answer questions about one picture, greedily.

        Args:
            view: (h, w, 3) bytes of RGB.
            prompts: the questions.
            longest: most tokens of an answer.

        Raises:
            ModelError: the pipeline fails.
        """
        image = openvino().Tensor(np.ascontiguousarray(view)[None])
        return [self._answer(image, prompt, longest) for prompt in prompts]

    def own_prompt(self, view: np.ndarray, question: str) -> int:
        """Tokens of a prompt, the picture's too, as the pipeline makes it where it is given the question alone."""
        config = self._pipe.get_generation_config()
        config.max_new_tokens = 1
        told = self._generated(question, openvino().Tensor(np.ascontiguousarray(view)[None]), config)
        return int(told.perf_metrics.get_num_input_tokens())

    def _answer(self, image: Any, question: str, longest: int) -> Decoded:
        ids: list[int] = []
        self._config.max_new_tokens = longest
        before, behind = self._around(question)
        told = self._generated(before + MARK + behind, image, self._config, self._heard(ids))
        self.waits.append(float(told.perf_metrics.get_ttft().mean))
        self.prompt = int(told.perf_metrics.get_num_input_tokens())
        spoken = tuple(token for token in ids if token not in self._ends)
        return Decoded(spoken, told.texts[0].strip(), ())

    def _generated(self, prompt: str, image: Any, config: Any, streamer: Any = None) -> Any:
        try:
            return self._pipe.generate(prompt, images=[image], generation_config=config, streamer=streamer)
        except RuntimeError as error:
            raise ModelError(f"OpenVINO GenAI fails on '{prompt}': {told_by(error)}") from error

    def _heard(self, ids: list[int]) -> Any:
        genai = self._genai

        class Listener(genai.StreamerBase):  # type: ignore[misc, name-defined]
            """Collects token ids."""

            def write(self, token: int | list[int]) -> Any:
                ids.extend(token if isinstance(token, list) else [token])
                return genai.StreamingStatus.RUNNING

            def end(self) -> None:
                pass

        return Listener()
