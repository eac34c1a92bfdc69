"""Tiny random networks for SD-Turbo's world, and their files as the published ones lie on a disk."""

import json

import diffusers
import torch
import transformers
from worldjockey.model.worlds.sources import TAESD, TURBO, TURBO_DEPTH
from worldjockey.model.worlds.turbo import Turbo

WIDTH = 32  # of the text


def tokenizer(folder):
    """Letters, and no merges: every word falls into its letters, as the real one's rare words do."""
    letters = [*"abcdefghijklmnopqrstuvwxyz'!"]
    pieces = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{c}</w>" for c in letters)]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({p: i for i, p in enumerate(pieces)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "pad_token": "!"})
    )
    (folder / "special_tokens_map.json").write_text(json.dumps({"pad_token": "!"}))
    return transformers.CLIPTokenizer.from_pretrained(folder)


def networks():
    torch.manual_seed(0)
    unet = diffusers.UNet2DConditionModel(
        block_out_channels=(4, 8), layers_per_block=1, sample_size=32, time_cond_proj_dim=None, norm_num_groups=2,
        in_channels=4, out_channels=4, down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), cross_attention_dim=WIDTH, attention_head_dim=4,
    )  # fmt: skip
    vae = diffusers.AutoencoderTiny(
        encoder_block_out_channels=(8,) * 4, decoder_block_out_channels=(8,) * 4, num_encoder_blocks=(1, 1, 1, 1),
        num_decoder_blocks=(1, 1, 1, 1),
    )  # fmt: skip
    last = vae.decoder.layers[-1]
    with torch.no_grad():  # random decoders draw next to nothing: let this one draw greys around the middle
        last.weight.mul_(3)
        last.bias.fill_(0.5)
    text = transformers.CLIPTextModel(transformers.CLIPTextConfig(
        vocab_size=64, hidden_size=WIDTH, intermediate_size=37, num_hidden_layers=2, num_attention_heads=4,
        bos_token_id=0, eos_token_id=1, pad_token_id=2,
    ))  # fmt: skip
    return unet, vae, text


def controlnet(unet):
    """Of depth; its zero convolutions are not zero, as after its training."""
    made = diffusers.ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(4, 4, 4, 4))
    torch.manual_seed(1)
    with torch.no_grad():
        for layer in (*made.controlnet_down_blocks, made.controlnet_mid_block, made.controlnet_cond_embedding.conv_out):
            layer.weight.normal_(0, 0.3)
    return made


def scheduler(euler=True, **options):
    common = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
    kind = diffusers.EulerDiscreteScheduler if euler else diffusers.DDIMScheduler
    return kind(**common, timestep_spacing="trailing", **options)


def write(folder):
    """Weights on disk as the real ones lie there."""
    unet, vae, text = networks()
    unet.save_pretrained(folder / TURBO.repository / "unet", variant="fp16")
    text.half().save_pretrained(folder / TURBO.repository / "text_encoder", variant="fp16")
    vae.save_pretrained(folder / TAESD.repository)
    controlnet(unet).save_pretrained(folder / TURBO_DEPTH.repository, safe_serialization=False)
    scheduler(True).save_pretrained(folder / TURBO.repository / "scheduler")
    tokenizer(folder / TURBO.repository / "tokenizer")
    return folder


def tiny(size, folder):
    """A world of `size` x `size` pixels. folder: for the tokenizer's files."""
    return Turbo(*networks(), tokenizer(folder), scheduler(True), size, size)
