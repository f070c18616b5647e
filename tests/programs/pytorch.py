"""PyTorch on the other side of tests/programs/pytorch.test.ts.

    python3 pytorch.py read FILE.safetensors SPEC.json OUT.json   load a file of gruvy's, run it, write the outputs
    python3 pytorch.py write FOLDER                              save one network in many ways, with its outputs

Debian's python3-torch is enough: the safetensors format is parsed here.
"""
import argparse
import collections
import copy
import datetime
import json
import os
import pathlib
import re
import struct
import sys

import numpy
import torch
from torch import nn

DTYPES = {"F32": torch.float32, "F16": torch.float16}


def load(path):
    data = open(path, "rb").read()
    (n,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + n])
    assert header.pop("__metadata__") == {"format": "pt"}
    tensors = {}
    for name, info in header.items():
        begin, end = info["data_offsets"]
        flat = torch.frombuffer(bytearray(data[8 + n + begin : 8 + n + end]), dtype=DTYPES[info["dtype"]])
        tensors[name] = flat.reshape(info["shape"])
    return tensors


class Stack(nn.Module):
    """Modules by name, one after the other; of a GRU the outputs, or with "last" the last state of each direction."""

    def __init__(self, spec):
        super().__init__()
        self.spec = spec
        for part in spec:
            kind = getattr(nn, part["kind"])
            setattr(self, part["name"], kind(*part["args"], **part["options"]))

    def forward(self, x, *memory):
        """Of attention the query, and as memory value and key, or nothing: all the same."""
        for part in self.spec:
            module = getattr(self, part["name"])
            if part["kind"] == "MultiheadAttention":
                value, key = memory or (x, x)
                x = module(x, key, value, need_weights=False)[0]
                continue
            if part["kind"] != "GRU":
                x = module(x)
                continue
            y, h = module(x)
            d = 2 if part["options"].get("bidirectional") else 1
            x = torch.cat(list(h[-d:]), -1) if part.get("last") else y
        return x


class Net(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.rnn = net.rnn
        self.head = net.head

    def forward(self, x):
        return self.head(self.rnn(x)[0])


def read(path, spec, out):
    spec = json.load(open(spec))
    state = load(path)
    if spec.get("alone"):
        # The file is nn.GRU's own state dict.
        net = nn.GRU(*spec["parts"][0]["args"], **spec["parts"][0]["options"])
        net.load_state_dict(state)
        run = lambda x: net(x)[0]
    else:
        net = Stack(spec["parts"])
        net.load_state_dict(state)
        run = net.eval()
    dtype = torch.int64 if spec.get("tokens") else torch.float32
    x = [torch.tensor(x["data"], dtype=dtype).reshape(x["shape"]) for x in spec["x"]]
    with torch.no_grad():
        y = run(*x)
    json.dump({"shape": list(y.shape), "data": y.flatten().tolist()}, open(out, "w"))


def write(folder):
    torch.manual_seed(3)
    j = lambda name: os.path.join(folder, name)
    net = nn.Sequential()
    net.rnn = nn.GRU(3, 4, 2, batch_first=True, bidirectional=True)
    net.head = nn.Linear(8, 2)
    x = torch.randn(2, 5, 3)
    with torch.no_grad():
        y = net.head(net.rnn(x)[0])
    json.dump({"x": x.flatten().tolist(), "y": y.flatten().tolist()}, open(j("case.json"), "w"))
    state = net.state_dict()
    torch.save(state, j("plain.pt"))
    torch.save(state, j("legacy.pt"), _use_new_zipfile_serialization=False)
    torch.save(state, j("protocol-4.pt"), pickle_protocol=4)
    torch.save({k: v.double() for k, v in state.items()}, j("double.pt"))
    # Views: transposed, and all in one storage.
    torch.save({k: v.t().contiguous().t() if v.dim() == 2 else v for k, v in state.items()}, j("transposed.pt"))
    joined = torch.cat([v.flatten() for v in state.values()])
    shared, at = {}, 0
    for k, v in state.items():
        shared[k] = joined[at : at + v.numel()].view(v.shape)
        at += v.numel()
    torch.save(shared, j("shared.pt"))
    torch.save(shared, j("shared-legacy.pt"), _use_new_zipfile_serialization=False)
    torch.save(dict(net.named_parameters()), j("parameters.pt"))
    optimizer = torch.optim.Adam(net.parameters())
    net.head(net.rnn(x)[0]).sum().backward()
    optimizer.zero_grad()
    torch.save(
        {
            "epoch": 3,
            "state_dict": {"module." + k: v for k, v in state.items()},
            "optimizer": optimizer.state_dict(),
            "best": 0.5,
            "args": {"lr": 1e-3, "sizes": torch.Size([3, 4])},
        },
        j("checkpoint.pt"),
    )
    torch.save(net, j("whole.pt"))
    # What training scripts keep beside the weights.
    torch.save(
        {
            "model": state,
            "best": torch.tensor(0.5),
            "args": argparse.Namespace(lr=0.1, path=pathlib.PosixPath("a/b"), when=datetime.datetime(2020, 1, 2)),
            "history": collections.defaultdict(list, loss=[numpy.float64(0.5)], mean=numpy.arange(3.0)),
            "counts": collections.Counter("abca"),
            "recent": collections.deque([1, 2], 5),
            "kinds": {float, frozenset([1])},
            "dtype": torch.float32,
            "callbacks": {"ModelCheckpoint": {"best_model_score": torch.tensor(0.25), "best_k_models": {}}},
            "optimizer_states": [optimizer.state_dict()],
        },
        j("around.pt"),
    )
    torch.save((state, {"units": 4}), j("tuple.pt"))
    torch.save({"weights": state, "ema": {"shadow": copy.copy(state)}}, j("ema.pt"))
    parts = {name: getattr(net, name).state_dict() for name in ("rnn", "head")}
    torch.save({**parts, "vocabulary": {"a": 1}}, j("parts.pt"))
    torch.save(state, j("protocol-1.pt"), pickle_protocol=1, _use_new_zipfile_serialization=False)
    torch.save(state, j("protocol-5.pt"), pickle_protocol=5)
    torch.save(state, j("protocol-4-legacy.pt"), pickle_protocol=4, _use_new_zipfile_serialization=False)
    normed = copy.deepcopy(net)
    nn.utils.weight_norm(normed.head)
    nn.utils.weight_norm(normed.rnn, "weight_hh_l1_reverse", dim=None)
    nn.utils.weight_norm(normed.rnn, "weight_ih_l0", dim=1)
    torch.save(normed.state_dict(), j("weight-norm.pt"))
    # As PyTorch 2 names them.
    part = {"g": "original0", "v": "original1"}
    new = lambda k: re.sub(r"(weight\w*)_([gv])$", lambda m: f"parametrizations.{m[1]}.{part[m[2]]}", k)
    torch.save({new(k): v for k, v in normed.state_dict().items()}, j("parametrized.pt"))
    torch.save(dict(state, extra=torch.zeros(3)), j("extra.pt"))
    torch.jit.script(Net(net)).save(j("script.pt"))
    torch.jit.trace(Net(net), x).save(j("trace.pt"))
    torch.jit.freeze(torch.jit.trace(Net(net).eval(), x)).save(j("frozen.pt"))
    torch.save(torch.optim.swa_utils.AveragedModel(net).state_dict(), j("averaged.pt"))
    dynamic = torch.ao.quantization.quantize_dynamic(copy.deepcopy(net), {nn.GRU})
    torch.save(dynamic.state_dict(), j("dynamic.pt"))
    # What no model of ours is made of.
    torch.save(dict(state, m=torch.eye(3).to_sparse()), j("sparse.pt"))
    torch.save(dict(state, m=torch.quantize_per_tensor(torch.eye(3), 0.1, 0, torch.qint8)), j("quantised.pt"))
    torch.save({k: v.to(torch.complex64) for k, v in state.items()}, j("complex.pt"))
    torch.save({k: v.to(torch.int32) for k, v in state.items()}, j("int.pt"))
    norms = nn.Sequential()
    norms.rnn, norms.bn, norms.head = net.rnn, nn.BatchNorm1d(8, eps=1e-3), net.head
    norms.bare = nn.BatchNorm1d(2, eps=1e-3, affine=False)
    for numbers in norms.bn.weight, norms.bn.bias, *norms.bn.buffers(), *norms.bare.buffers():
        if numbers.dim():
            nn.init.uniform_(numbers, 0.1, 1)
    torch.save(norms.state_dict(), j("batch-norm.pt"))
    norms.eval()
    with torch.no_grad():
        features = norms.bn(norms.rnn(x)[0].transpose(1, 2)).transpose(1, 2)
        normed_y = norms.bare(norms.head(features).transpose(1, 2)).transpose(1, 2)
    json.dump(normed_y.flatten().tolist(), open(j("batch-norm.json"), "w"))
    lstm = nn.Sequential()
    lstm.rnn, lstm.head = nn.LSTM(3, 4, 2, bidirectional=True), net.head
    torch.save(lstm.state_dict(), j("lstm.pt"))


if __name__ == "__main__":
    {"read": read, "write": write}[sys.argv[1]](*sys.argv[2:])
