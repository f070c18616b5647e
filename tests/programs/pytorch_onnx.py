"""Networks as PyTorch's exporter writes them to ONNX, with inputs and outputs, for tests/programs/pytorch-onnx.test.ts.

    python3 pytorch_onnx.py FOLDER
"""
import json
import os
import sys
import warnings

import torch
from torch import nn

warnings.filterwarnings("ignore")
torch.manual_seed(11)


class Last(nn.Module):
    """The last step of a batch-first GRU."""

    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(3, 5, 2, batch_first=True)
        self.fc = nn.Linear(5, 2)

    def forward(self, x):
        y, _ = self.gru(x)
        return self.fc(y[:, -1, :])


class LastLater(nn.Module):
    """The last step after layers that work on every step."""

    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(3, 5, batch_first=True)
        self.fc = nn.Linear(5, 4)

    def forward(self, x):
        return torch.tanh(self.fc(self.gru(x)[0]))[:, -1]


class Both(nn.Module):
    """Last states of both directions side by side."""

    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(3, 5, bidirectional=True, batch_first=True)
        self.fc = nn.Linear(10, 2)

    def forward(self, x):
        _, h = self.gru(x)
        return torch.softmax(self.fc(torch.cat([h[-2], h[-1]], 1)), 1)


class Reverse(nn.Module):
    """The reverse direction's state alone."""

    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(3, 5, bidirectional=True, batch_first=True)
        self.fc = nn.Linear(5, 2)

    def forward(self, x):
        _, h = self.gru(x)
        return self.fc(h[-1])


class Convolved(nn.Module):
    def __init__(self, norm=True):
        super().__init__()
        self.conv = nn.Conv1d(3, 6, 3, padding=1)
        self.norm = nn.BatchNorm1d(6)
        self.norm.running_mean.uniform_(-1, 1)
        self.norm.running_var.uniform_(0.5, 2)
        self.gru = nn.GRU(6, 4, batch_first=True)
        self.fc = nn.Linear(4, 2)

    def forward(self, x):
        x = torch.relu(self.norm(self.conv(x.permute(0, 2, 1))))
        y, _ = self.gru(x.permute(0, 2, 1))
        return self.fc(y.mean(1))


class Normed(nn.Module):
    """Layer normalisation: one operator from opset 17 on, nine before."""

    def __init__(self):
        super().__init__()
        self.inp = nn.Linear(3, 4)
        self.gru = nn.GRU(4, 5)
        self.norm = nn.LayerNorm(5)
        self.drop = nn.Dropout(0.3)
        self.fc = nn.Linear(5, 3)

    def forward(self, x):
        y, _ = self.gru(nn.functional.silu(self.inp(x)))
        return torch.log_softmax(self.fc(self.drop(self.norm(y))), -1)


class Zeros(nn.Module):
    """States of zeros, made by the network."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(9, 4)
        self.gru = nn.GRU(4, 5, batch_first=True)
        self.fc = nn.Linear(5, 9)

    def forward(self, ids):
        h = torch.zeros(1, ids.shape[0], 5)
        y, _ = self.gru(self.embed(ids), h)
        return self.fc(y)


class Scaled(nn.Module):
    """Inputs standardised by the network itself."""

    def __init__(self):
        super().__init__()
        self.mean = nn.Parameter(torch.randn(3))
        self.std = nn.Parameter(torch.rand(3) + 0.5)
        self.gru = nn.GRU(3, 4, batch_first=True)
        self.fc = nn.Linear(4, 4, bias=False)

    def forward(self, x):
        y, h = self.gru((x - self.mean) / self.std)
        return torch.sigmoid(self.fc(y)) * 2 - 1


class Residual(nn.Module):
    """Branches, and both the outputs and the last state of one GRU."""

    def __init__(self):
        super().__init__()
        self.inp = nn.Linear(3, 5)
        self.gru = nn.GRU(5, 5, batch_first=True)
        self.fc = nn.Linear(10, 2)

    def forward(self, x):
        x = self.inp(x)
        y, h = self.gru(x)
        return self.fc(torch.cat([(y + x).mean(1), h[-1]], -1))


def main(folder):
    cases = []
    x = torch.randn(2, 6, 3)
    for net, given in [
        (Last(), x), (LastLater(), x), (Both(), x), (Reverse(), x), (Convolved(), x),
        (Normed(), torch.randn(6, 2, 3)), (Zeros(), torch.randint(0, 9, (2, 6))), (Scaled(), x), (Residual(), x),
    ]:  # fmt: skip
        net.eval()
        name = type(net).__name__
        with torch.no_grad():
            y = net(given)
        time_first = name == "Normed"
        for opset in range(7, 18):
            for dynamic in (True, False):
                file = f"{name}-{opset}-{'dynamic' if dynamic else 'fixed'}.onnx"
                axes = {"x": {0: "time", 1: "batch"} if time_first else {0: "batch", 1: "time"}} if dynamic else None
                try:
                    torch.onnx.export(net, (given,), os.path.join(folder, file), input_names=["x"],
                                      output_names=["y"], opset_version=opset, dynamic_axes=axes)  # fmt: skip
                except Exception as error:
                    print("PyTorch does not export", file, str(error)[:80].replace("\n", " "))
                    continue
                cases.append({
                    "file": file, "timeFirst": time_first,
                    "x": {"shape": list(given.shape), "data": given.flatten().tolist(), "tokens": not given.is_floating_point()},
                    "y": {"shape": list(y.shape), "data": y.flatten().tolist()},
                })  # fmt: skip
    json.dump(cases, open(os.path.join(folder, "cases.json"), "w"))


if __name__ == "__main__":
    main(sys.argv[1])
