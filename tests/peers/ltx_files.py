"""An LTX-2 pipeline of tiny random networks, on the very path of the large ones."""

import diffusers
import torch
import transformers
from diffusers.pipelines.ltx2 import LTX2ConditionPipeline, LTX2TextConnectors, LTX2Vocoder
from helios_files import tokenizer

ROWS = 16
LOUDER = 2.0


def text_encoder():
    text = {
        "vocab_size": 64, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
        "num_key_value_heads": 1, "head_dim": 8, "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 1,
    }  # fmt: skip
    vision = {
        "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "image_size": 28,
        "patch_size": 14,
    }  # fmt: skip
    config = transformers.Gemma3Config(text_config=text, vision_config=vision, mm_tokens_per_image=4,
                                       image_token_index=60, boi_token_index=61, eoi_token_index=62)  # fmt: skip
    return transformers.Gemma3ForConditionalGeneration(config)


def tiny(**scheduler):
    """Frames and sound are compressed as the checkpoint's: 32 x 32 x 8, and 100 spectra a second by 4."""
    torch.manual_seed(0)
    connectors = LTX2TextConnectors(
        caption_channels=16, text_proj_in_factor=3, video_connector_num_attention_heads=2,
        video_connector_attention_head_dim=8, video_connector_num_layers=1, video_connector_num_learnable_registers=8,
        audio_connector_num_attention_heads=2, audio_connector_attention_head_dim=4, audio_connector_num_layers=1,
        audio_connector_num_learnable_registers=8, connector_rope_base_seq_len=32, rope_double_precision=False,
        rope_type="split", per_modality_projections=True, video_hidden_dim=16, audio_hidden_dim=8, proj_bias=True,
    )  # fmt: skip
    network = diffusers.LTX2VideoTransformer3DModel(
        in_channels=4, out_channels=4, num_attention_heads=2, attention_head_dim=8, cross_attention_dim=16,
        audio_in_channels=4, audio_out_channels=4, audio_num_attention_heads=2, audio_attention_head_dim=4,
        audio_cross_attention_dim=8, num_layers=2, caption_channels=16, rope_double_precision=False, rope_type="split",
        gated_attn=True, cross_attn_mod=True, audio_gated_attn=True, audio_cross_attn_mod=True,
        use_prompt_embeddings=False, perturbed_attn=True,
    )  # fmt: skip
    vae = diffusers.AutoencoderKLLTX2Video(
        latent_channels=4, block_out_channels=(4, 8, 16, 32), decoder_block_out_channels=(8, 16, 32),
        layers_per_block=(1, 1, 1, 1, 1), decoder_layers_per_block=(1, 1, 1, 1), decoder_causal=False,
        spatial_compression_ratio=32, temporal_compression_ratio=8,
    )  # fmt: skip
    audio_vae = diffusers.AutoencoderKLLTX2Audio(
        base_channels=4, ch_mult=(1, 1, 1), num_res_blocks=1, resolution=32, latent_channels=2, mel_bins=8
    )
    vocoder = LTX2Vocoder(in_channels=16, hidden_channels=32, resnet_kernel_sizes=[3], resnet_dilations=[[1, 3, 5]])
    for name, weight in vocoder.named_parameters():  # as PyTorch begins them, they make no sound
        weight.data.mul_(LOUDER if name.endswith("weight") else 0.0)
    pipe = LTX2ConditionPipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(**scheduler), vae=vae.eval(), audio_vae=audio_vae.eval(),
        text_encoder=text_encoder().eval(), tokenizer=tokenizer(), connectors=connectors.eval(),
        transformer=network.eval(), vocoder=vocoder.eval(),
    )  # fmt: skip
    pipe.set_progress_bar_config(disable=True)
    return pipe
