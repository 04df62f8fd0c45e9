"""Special: what a class needs besides the sizes that its fields are known by, one line each.

`...` leaves a field as it is.
"""

__all__ = ["SPECIAL"]

from typing import Any


def _turning(*sections: int) -> dict[str, Any]:
    """Return rotary positions whose pairs turn with time, height and width."""
    return {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [*sections]}


SPECIAL: dict[str, dict[str, Any]] = {
    "clap": {"audio_config": ...},
    "clvp": {"text_config": {"hidden_size": 128}, "speech_config": {"hidden_size": 128}},
    "dbrx": {"attn_config": {"kv_n_heads": 2, "rope_theta": 1e4, "clip_qkv": 8.0}},
    "dots3_note_text": {"layer_types": ["indexed_attention"] * 3},
    "esmc": {"num_key_value_heads": 4},
    "falcon_h1": {"mamba_d_ssm": 64},
    "gemma3n_text": {"num_kv_shared_layers": 0},
    "glm5_next_text": {"qk_rope_head_dim": 0, "head_dim": 8},
    "glm4v_moe_text": {"rope_parameters": _turning(1, 1, 0)},
    "glm4v_text": {"rope_parameters": _turning(2, 1, 1)},
    "glm_image_text": {"rope_parameters": _turning(2, 1, 1)},
    "glm_ocr_text": {"rope_parameters": _turning(2, 1, 1)},
    "gpt_neo": {"attention_types": [[["global", "local"], 1], [["global"], 1]]},
    "hunyuan_vl_text": {"rope_parameters": _turning(2, 1, 1)},
    "lfm2_moe": {"layer_types": ["conv", "full_attention", "conv"]},
    "lilt": {"hidden_size": 48},
    "mamba2": {"num_heads": 8},
    "mpnet": {"relative_attention_num_buckets": ...},
    "reformer": {"axial_pos_embds_dim": [16, 16], "axial_pos_shape": [8, 16]},
    "qwen2_5_vl_text": {"rope_parameters": _turning(2, 1, 1)},
    "qwen2_vl_text": {"rope_parameters": _turning(2, 1, 1)},
    "t5gemma": {"is_encoder_decoder": False},
    "xmod": {"default_language": "en_XX"},
    "zamba": {
        "num_hidden_layers": 4,
        "layers_block_type": ["mamba", "hybrid"] * 2,
        "attention_hidden_size": 64,
        "attention_head_dim": 16,
    },
    "zaya": {"num_experts_per_tok": 1},
}
