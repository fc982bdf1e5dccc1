"""Exports a trained torch network to the ONNX graph that prediction runs.

Inputs: ``features``, float32 of shape ``(segments, n_features, frames)``, normalized and zero in the padding, and
``n_frames``, int64 of shape ``(segments,)``. Outputs: ``logits``, float32 of shape ``(segments, n_labels)``, the mean
over the members of an ensemble, ``attention``, float32 of shape ``(segments, members, steps)``, which sums to 1
over the steps of each segment, and ``embedding``, float32 of shape ``(segments, size)``, that of the first member,
which `whiten_embedding` whitens.
"""

import tempfile
import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import safetensors.torch
import torch
from torch import Tensor, nn

from sercli.errors import ModelError
from sercli.models.blocks import Ensemble, Network, frame_mask

OPSET = 17
MAX_ERROR = 1e-4  # largest difference of a logit between torch and ONNX Runtime
CHECKED = ((1, 9), (1, 117), (3, 235))  # segments and frames of the inputs that are compared
COMPRESSED_SIZE = 256  # tensors with at least this many elements are stored in half precision


class _Exported(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.members: list[Network] = list(network.members) if isinstance(network, Ensemble) else [network]  # type: ignore[list-item,arg-type]
        self.network = network

    def forward(self, features: Tensor, n_frames: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        answers = [member.attend(features, n_frames) for member in self.members]
        logits = torch.stack([logits for logits, _, _ in answers]).mean(dim=0)
        return logits, torch.stack([attention for _, attention, _ in answers], dim=1), answers[0][2]


@torch.no_grad()
def export_network(network: nn.Module, n_features: int) -> bytes:
    """Exports a network or an ensemble as one ONNX graph, and checks that both give the same logits.

    Args:
        network: Network that maps features and lengths to logits; left in evaluation mode, on its device.
        n_features: Rows of its input.

    Raises:
        ModelError: If ONNX Runtime and torch differ by more than `MAX_ERROR`.
    """
    device = next(network.parameters()).device
    network.eval().cpu()
    exported = _Exported(network).eval()
    example = _make_batch(2, 64, n_features)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        path = Path(folder, "model.onnx")
        # The newer exporter (torch.export) takes two minutes for an ensemble; this one takes a second.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            exported,
            example,
            path,
            dynamo=False,
            opset_version=OPSET,
            # Keep batch normalization separate, so that rounded weights stay exact; ONNX Runtime merges it on load.
            training=torch.onnx.TrainingMode.PRESERVE,
            input_names=["features", "n_frames"],
            output_names=["logits", "attention", "embedding"],
            dynamic_axes={
                "features": {0: "segments", 2: "frames"},
                "n_frames": {0: "segments"},
                "logits": {0: "segments"},
                "attention": {0: "segments", 2: "steps"},
                "embedding": {0: "segments"},
            },
        )
        graph = _compress(path.read_bytes())
    _check(graph, network, n_features)
    network.to(device)
    return graph


def _make_batch(segments: int, frames: int, n_features: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(segments * 1000 + frames)
    n_frames = torch.linspace(frames, max(2, frames // 2), segments).long()
    features = torch.randn(segments, n_features, frames, generator=generator)
    return features * frame_mask(n_frames, frames)[:, None], n_frames


def _compress(graph: bytes) -> bytes:
    """Stores weights in half precision where that is lossless."""
    model = onnx.load_from_string(graph)
    initializers = list(model.graph.initializer)
    del model.graph.initializer[:]
    casts = []
    for initializer in initializers:
        values = onnx.numpy_helper.to_array(initializer)
        half = values.astype(np.float16) if values.dtype == np.float32 and values.size >= COMPRESSED_SIZE else values
        if half.dtype == np.float16 and np.array_equal(half.astype(np.float32), values):
            name = f"{initializer.name}_half"
            model.graph.initializer.append(onnx.numpy_helper.from_array(half, name))
            casts.append(onnx.helper.make_node("Cast", [name], [initializer.name], to=onnx.TensorProto.FLOAT))
        else:
            model.graph.initializer.append(initializer)
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    content: bytes = model.SerializeToString()
    return content


def _check(graph: bytes, network: nn.Module, n_features: int) -> None:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    for segments, frames in CHECKED:
        features, n_frames = _make_batch(segments, frames, n_features)
        expected = network(features, n_frames).numpy()
        (actual,) = session.run(["logits"], {"features": features.numpy(), "n_frames": n_frames.numpy()})
        error = float(np.abs(actual - expected).max())
        if not error <= MAX_ERROR:
            msg = f"the exported network differs from the trained one by {error:.1e}, expected at most {MAX_ERROR:.0e}"
            raise ModelError(msg)


def whiten_embedding(graph: bytes, mean: npt.NDArray[np.floating], whitening: npt.NDArray[np.floating]) -> bytes:
    """Returns the graph with ``(embedding - mean) @ whitening`` in place of its embedding.

    Args:
        graph: Result of `export_network`.
        mean: Shape ``(size,)``.
        whitening: Shape ``(size, size)``.
    """
    model = onnx.load_from_string(graph)
    plain, centered = (f"embedding_{word}_{len(model.graph.node)}" for word in ("plain", "centered"))
    for node in model.graph.node:
        node.output[:] = [plain if name == "embedding" else name for name in node.output]
    constants = {f"{plain}_mean": mean, f"{plain}_whitening": whitening}
    for name, values in constants.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(values.astype(np.float32), name))
    model.graph.node.append(onnx.helper.make_node("Sub", [plain, f"{plain}_mean"], [centered]))
    model.graph.node.append(onnx.helper.make_node("MatMul", [centered, f"{plain}_whitening"], ["embedding"]))
    content: bytes = model.SerializeToString()
    return content


@torch.no_grad()
def round_weights(network: nn.Module) -> None:
    """Rounds matrices and kernels to half precision, which halves the size of the model folder."""
    for parameter in network.parameters():
        if parameter.dim() > 1:
            parameter.copy_(parameter.half().float())


def pack_weights(network: nn.Module) -> bytes:
    """Serializes the weights of a network as safetensors, in half precision where that is lossless."""
    return safetensors.torch.save(
        {name: _pack(value.contiguous().cpu()) for name, value in network.state_dict().items()}
    )


def _pack(weights: Tensor) -> Tensor:
    if weights.dtype != torch.float32:
        return weights
    half = weights.half()
    return half if torch.equal(half.float(), weights) else weights
