"""PyTorch on the other side of tests/programs/pytorch.test.ts.

    python3 pytorch.py read FILE.safetensors SPEC.json OUT.json   load a file of gruvy's, run it, write the outputs
    python3 pytorch.py write FOLDER                              save one network in many ways, with its outputs

Debian's python3-torch is enough: the safetensors format is parsed here.
"""
import json
import os
import struct
import sys

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

    def forward(self, x):
        for part in self.spec:
            module = getattr(self, part["name"])
            if part["kind"] != "GRU":
                x = module(x)
                continue
            y, h = module(x)
            d = 2 if part["options"].get("bidirectional") else 1
            x = torch.cat(list(h[-d:]), -1) if part.get("last") else y
        return x


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
    x = torch.tensor(spec["x"]["data"], dtype=torch.int64 if spec.get("tokens") else torch.float32)
    with torch.no_grad():
        y = run(x.reshape(spec["x"]["shape"]))
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


if __name__ == "__main__":
    {"read": read, "write": write}[sys.argv[1]](*sys.argv[2:])
