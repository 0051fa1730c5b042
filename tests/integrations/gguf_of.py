"""A GGUF without a vocabulary, of the language model of a LLaVA whose decoder is a Llama."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file


def write_gguf(checkpoint, path, kind="F32"):
    """Matrices are of a kind of `gguf.GGMLQuantizationType`."""
    import gguf

    kind = gguf.GGMLQuantizationType[kind]

    def add(name, array):
        if array.ndim == 1 or array.shape[1] % 32:  # a block
            writer.add_tensor(name, array)
        else:
            writer.add_tensor(name, gguf.quants.quantize(array, kind), raw_dtype=kind)

    own = json.loads(Path(checkpoint, "config.json").read_text())["text_config"]
    tensors = {
        name: array.astype(np.float32) for name, array in load_file(Path(checkpoint, "model.safetensors")).items()
    }
    named = {
        name.split("language_model.", 1)[1].removeprefix("model."): a
        for name, a in tensors.items()
        if "language_model." in name
    }
    heads, kv = own["num_attention_heads"], own["num_key_value_heads"]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(own["max_position_embeddings"])
    writer.add_embedding_length(own["hidden_size"])
    writer.add_block_count(own["num_hidden_layers"])
    writer.add_feed_forward_length(own["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv)
    writer.add_layer_norm_rms_eps(own["rms_norm_eps"])
    writer.add_rope_dimension_count(own["head_dim"])
    writer.add_rope_freq_base(own["rope_parameters"]["rope_theta"])
    writer.add_vocab_size(own["vocab_size"])
    writer.add_tokenizer_model("no_vocab")
    add("token_embd.weight", named["embed_tokens.weight"])
    add("output_norm.weight", named["norm.weight"])
    parts = {
        "input_layernorm": "attn_norm",
        "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output",
        "post_attention_layernorm": "ffn_norm",
        "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
    }
    for layer in range(own["num_hidden_layers"]):
        for theirs, name in parts.items():
            array = named[f"layers.{layer}.{theirs}.weight"]
            if name in ("attn_q", "attn_k"):
                count = heads if name == "attn_q" else kv
                array = array.reshape(count, 2, -1, array.shape[1]).swapaxes(1, 2).reshape(array.shape)
            add(f"blk.{layer}.{name}.weight", np.ascontiguousarray(array))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
