"""Files of the open checkpoints on the Hugging Face hub: repository, commit and, where known, sha256.

Needs neither torch nor any world.
"""

from __future__ import annotations

from ..weights_store import Source

TURBO = Source(
    "stabilityai/sd-turbo",
    "b261bac6fd2cf515557d5d0707481eafa0485ec2",
    (
        "scheduler/scheduler_config.json", "text_encoder/config.json", "text_encoder/model.fp16.safetensors",
        "tokenizer/merges.txt", "tokenizer/special_tokens_map.json", "tokenizer/tokenizer_config.json",
        "tokenizer/vocab.json", "unet/config.json", "unet/diffusion_pytorch_model.fp16.safetensors",
    ),
    gigabytes=2.4,
)  # fmt: skip
TAESD = Source(
    "madebyollin/taesd",
    "614f76814bbe30edbe2e627ace1c2234c81a2c0e",
    ("config.json", "diffusion_pytorch_model.safetensors"),
    {
        "diffusion_pytorch_model.safetensors": "db169d69145ec4ff064e49d99c95fa05d3eb04ee453de35824a6d0f325513549",
    },
)
TURBO_DEPTH = Source(  # for Stable Diffusion 2.1, of which SD-Turbo was distilled
    "thibaud/controlnet-sd21-depth-diffusers",
    "938454a38a0e4e321c09326facaa8074ec94d9e0",
    ("config.json", "diffusion_pytorch_model.bin"),
)
KLEIN = Source(
    "black-forest-labs/FLUX.2-klein-4B",
    "e7b7dc27f91deacad38e78976d1f2b499d76a294",
    ("model_index.json", "scheduler/*", "text_encoder/*", "tokenizer/*", "transformer/*", "vae/*"),
    {
        "text_encoder/model-00001-of-00002.safetensors":
            "8c0506e7f4936fa7e26183a4fd8da4e2bdbc5990ba64ae441f965d51228f36ea",
        "text_encoder/model-00002-of-00002.safetensors":
            "82f2bd839378541b0557bfabaf37c7d3d637071fdcb73302dedd7cf61162ce07",
        "transformer/diffusion_pytorch_model.safetensors":
            "9f29f9edcfdae452a653ffb51a534ca4decd389952c225724ff3b94042612a6e",
        "vae/diffusion_pytorch_model.safetensors": "ca70d2202afe6415bdbcb8793ba8cd99fd159cfe6192381504d6c4d3036e0f04",
    },
    gigabytes=16.0,
)  # fmt: skip
HELIOS = Source(
    "BestWishYsh/Helios-Distilled",
    "b991c0379a018f4de3227d95468237f56066f5bb",
    ("model_index.json", "scheduler/*", "text_encoder/*", "tokenizer/*", "transformer/*", "vae/*"),
    gigabytes=80.5,
)
LTX = Source(  # the size is that of its twin dg845/LTX-2.3-Distilled-Diffusers, as others count it
    "diffusers/LTX-2.3-Distilled-Diffusers",
    "432e0d3c2d1769aaa4d295f9243f7062bf6b47ee",
    (
        "model_index.json", "audio_vae/*", "connectors/*", "scheduler/*", "text_encoder/*", "tokenizer/*",
        "transformer/*", "vae/*", "vocoder/*",
    ),
    gigabytes=95.0,
)  # fmt: skip
WAN_TEXT = Source(  # bfloat16, half the size of the same encoder in diffusers' layout
    "Wan-AI/Wan2.1-T2V-1.3B",
    "37ec512624d61f7aa208f7ea8140a131f93afc9a",
    ("models_t5_umt5-xxl-enc-bf16.pth", "google/umt5-xxl/tokenizer.json"),
    {
        "models_t5_umt5-xxl-enc-bf16.pth": "7cace0da2b446bbbbc57d031ab6cf163a3d59b366da94e5afe36745b746fd81d",
        "google/umt5-xxl/tokenizer.json": "6e197b4d3dbd71da14b4eb255f4fa91c9c1f2068b20a2de2472967ca3d22602b",
    },
    gigabytes=11.4,
)
WAN_DECODER = Source(
    "lightx2v/Autoencoders",
    "main",
    ("lighttaew2_1.pth",),
    {"lighttaew2_1.pth": "7c55c7d6b8eb3d24c7daca1295dea803fb847411e2c67bceecbb286f4dfdbef5"},
)
WAN_FULL_DECODER = Source(
    "Wan-AI/Wan2.1-T2V-1.3B",
    "37ec512624d61f7aa208f7ea8140a131f93afc9a",
    ("Wan2.1_VAE.pth",),
    {"Wan2.1_VAE.pth": "38071ab59bd94681c686fa51d75a1968f64e470262043be31f7a094e442fd981"},
    gigabytes=0.5,
)
SELF_FORCING = Source(
    "gdhe17/Self-Forcing",
    "2f8b779212da279d212c22a509b66ad6552f350e",
    ("checkpoints/self_forcing_dmd.pt",),
    {"checkpoints/self_forcing_dmd.pt": "a0413986d9734e02c09504e1520f5697ba6df731bb2f0f35577485e9cc8f56a3"},
    gigabytes=5.7,
)
CAUSAL_FORCING = Source(
    "zhuhz22/Causal-Forcing",
    "2f8eb8bb6eeb1238da9d13e5420d342a74d634a6",
    ("chunkwise/causal_forcing.pt",),
    {"chunkwise/causal_forcing.pt": "cf75ee5cc6f4e2e336c59c973f5544655d8f0aa481761efe6de1b9cb2eb0cd9d"},
    gigabytes=5.7,
)
LONGLIVE = Source(
    "Efficient-Large-Model/LongLive-1.3B",
    "cda9138d93872ef109d9a74c270184eb3a5acc6e",
    ("models/longlive_base.pt", "models/lora.pt"),
    {
        "models/longlive_base.pt": "10a2aa8fcf89c77d9033f4c117405412a690e289625766619d293f0c5a208ee7",
        "models/lora.pt": "c4e43b87d62d4b0614b496773639f1ab170a7ee486dc23407901e9d3a5ebc07a",
    },
    gigabytes=8.5,
)
