"""Tiny random networks for FLUX.2 klein's world, and their files as the published ones lie on a disk."""

import diffusers
import torch
import transformers

LETTERS = [*"abcdefghijklmnopqrstuvwxyz<|>/_.'", "Ġ", "Ċ"]
WIDTH = 8  # of the text encoder


def tokenizer():
    """Letters, and no merges."""
    ends = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    made = transformers.Qwen2Tokenizer(vocab={p: i for i, p in enumerate([*ends, *LETTERS])}, merges=[],
                                       additional_special_tokens=ends[1:])  # fmt: skip
    made.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "<|im_start|>assistant\n{% if not enable_thinking %}<think>\n\n</think>\n\n{% endif %}"
    )
    return made


def pipeline():
    torch.manual_seed(0)
    transformer = diffusers.Flux2Transformer2DModel(
        in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=3 * WIDTH, timestep_guidance_channels=16, axes_dims_rope=(4, 4, 4, 4),
        guidance_embeds=False,
    )  # fmt: skip
    vae = diffusers.AutoencoderKLFlux2(
        block_out_channels=(4, 4, 4, 4), layers_per_block=1, latent_channels=4, norm_num_groups=2, sample_size=64
    )
    vae.bn.running_mean.normal_(0, 0.3)
    vae.bn.running_var.uniform_(0.5, 2)
    with torch.no_grad():
        vae.decoder.conv_out.weight.mul_(8)  # a random decoder draws next to nothing
    text = transformers.Qwen3ForCausalLM(transformers.Qwen3Config(
        vocab_size=64, hidden_size=WIDTH, intermediate_size=12, num_hidden_layers=29, num_attention_heads=2,
        num_key_value_heads=1, head_dim=4, max_position_embeddings=600,
    ))  # fmt: skip
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(
        num_train_timesteps=1000, shift=3.0, use_dynamic_shifting=True, base_shift=0.5, max_shift=1.15,
        time_shift_type="exponential",
    )  # fmt: skip
    made = diffusers.Flux2KleinPipeline(
        scheduler=scheduler, vae=vae, text_encoder=text, tokenizer=tokenizer(), transformer=transformer,
        is_distilled=True,
    )  # fmt: skip
    made.set_progress_bar_config(disable=True)
    return made


def write(folder):
    """Weights on disk as the real ones lie there."""
    pipeline().save_pretrained(folder)
    return folder
