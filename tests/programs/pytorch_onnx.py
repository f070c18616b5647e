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


class Luong(nn.Module):
    """An encoder, a decoder, and attention by products of their states."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.GRU(3, 6, batch_first=True)
        self.decoder = nn.GRU(4, 6, batch_first=True)
        self.general = nn.Linear(6, 6, bias=False)
        self.fc = nn.Linear(12, 5)

    def forward(self, x, y):
        keys, h = self.encoder(x)
        queries, _ = self.decoder(y, h)
        weights = torch.softmax(torch.bmm(queries, self.general(keys).transpose(1, 2)), -1)
        context = torch.bmm(weights, keys)
        return self.fc(torch.tanh(torch.cat([context, queries], -1)))


class Bahdanau(nn.Module):
    """One query, the last state, and attention by a sum of tanh."""

    def __init__(self, beside=False):
        super().__init__()
        self.gru = nn.GRU(3, 6, bidirectional=True, batch_first=True)
        self.beside = beside
        self.query = nn.Linear(6, 5)
        self.keys = nn.Linear(12, 5, bias=False)
        self.both = nn.Linear(18, 5)
        self.v = nn.Linear(5, 1, bias=beside)
        self.fc = nn.Linear(12, 2)

    def forward(self, x):
        y, h = self.gru(x)
        if self.beside:
            query = h[-1].unsqueeze(1).repeat(1, y.shape[1], 1)
            energy = torch.tanh(self.both(torch.cat((query, y), 2)))
        else:
            energy = torch.tanh(self.query(h[-1]).unsqueeze(1) + self.keys(y))
        weights = torch.softmax(self.v(energy).squeeze(2), 1)
        return self.fc(torch.bmm(weights.unsqueeze(1), y).squeeze(1))


class BahdanauBeside(Bahdanau):
    def __init__(self):
        super().__init__(True)


class Pooled(nn.Module):
    """Attention that asks every step the same."""

    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(3, 6, bidirectional=True, batch_first=True)
        self.score = nn.Sequential(nn.Linear(12, 4), nn.Tanh(), nn.Linear(4, 1))
        self.fc = nn.Linear(12, 2)

    def forward(self, x):
        y, _ = self.gru(x)
        weights = torch.softmax(self.score(y), 1)
        return self.fc((weights * y).sum(1))


class Dot(nn.Module):
    """The last state asks all of them, scaled."""

    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(3, 6, batch_first=True)
        self.fc = nn.Linear(12, 2)

    def forward(self, x):
        y, h = self.gru(x)
        q = h[-1].unsqueeze(2)
        weights = torch.softmax(torch.bmm(y, q).squeeze(2) / 6**0.5, 1)
        context = torch.bmm(y.transpose(1, 2), weights.unsqueeze(2)).squeeze(2)
        return self.fc(torch.cat([context, h[-1]], 1))


class Heads(nn.Module):
    """nn.MultiheadAttention over the outputs of a GRU."""

    def __init__(self, batch_first=True):
        super().__init__()
        self.gru = nn.GRU(3, 8, batch_first=batch_first)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=batch_first)
        self.norm = nn.LayerNorm(8)
        self.fc = nn.Linear(8, 3)

    def forward(self, x):
        y, _ = self.gru(x)
        context, _ = self.attention(y, y, y, need_weights=False)
        return self.fc(self.norm(y + context))


class HeadsTimeFirst(Heads):
    def __init__(self):
        super().__init__(False)


class OwnHeads(nn.Module):
    """Heads by hand, with a causal mask."""

    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(3, 8, batch_first=True)
        self.q, self.k, self.v, self.out = (nn.Linear(8, 8) for _ in range(4))
        self.register_buffer("mask", torch.triu(torch.full((6, 6), float("-inf")), 1))

    def forward(self, x):
        y, _ = self.gru(x)
        split = lambda t: t.view(t.shape[0], t.shape[1], 4, 2).transpose(1, 2)  # noqa: E731
        q, k, v = split(self.q(y)), split(self.k(y)), split(self.v(y))
        scores = torch.matmul(q, k.transpose(-2, -1)) / 2**0.5 + self.mask
        context = torch.matmul(torch.softmax(scores, -1), v)
        context = context.transpose(1, 2).contiguous().view(y.shape[0], y.shape[1], 8)
        return self.out(context)


class Masked(nn.Module):
    """One head, causal by masked_fill."""

    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(3, 4, batch_first=True)
        self.qkv = nn.Linear(4, 12)
        self.register_buffer("mask", torch.tril(torch.ones(6, 6)))

    def forward(self, x):
        y, _ = self.gru(x)
        q, k, v = self.qkv(y).chunk(3, -1)
        scores = (q @ k.transpose(1, 2)) * 0.3
        return torch.softmax(scores.masked_fill(self.mask == 0, -1e9), -1) @ v


class Activations(nn.Module):
    """Activations that exporters write out."""

    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(3, 6, batch_first=True)
        self.layers = nn.ModuleList(nn.Linear(6, 6) for _ in range(9))
        self.prelu = nn.PReLU()

    def forward(self, x):
        y, _ = self.gru(x)
        f = nn.functional
        one = torch.nn.functional.gelu(self.layers[0](y))
        two = f.silu(self.layers[1](y)) + f.mish(self.layers[2](y))
        three = f.hardswish(self.layers[3](y)) + f.softplus(self.layers[4](y))
        four = f.glu(torch.cat([self.layers[5](y), self.layers[6](y)], -1), -1)
        five = self.layers[7](y)
        five = 0.5 * five * (1 + torch.tanh((2 / 3.141592653589793) ** 0.5 * (five + 0.044715 * five**3)))
        six = self.prelu(self.layers[8](y)) + f.relu6(y) + f.logsigmoid(y) + f.hardsigmoid(y)
        return one + two + three + four + five + six


class Causal(nn.Module):
    """A causal convolution by a pad before it, one with a chomp after it, one with groups, one with strides."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv1d(3, 6, 3, dilation=2)
        self.second = nn.Conv1d(6, 6, 3, padding=2)
        self.third = nn.Conv1d(6, 6, 3, padding=1, groups=3)
        self.fourth = nn.Conv1d(6, 4, 5, padding=2, stride=2)
        self.pool = nn.MaxPool1d(3, 2, padding=1)
        self.gru = nn.GRU(4, 5, batch_first=True)

    def forward(self, x):
        x = nn.functional.pad(x.transpose(1, 2), (4, 0))
        x = torch.relu(self.first(x))
        x = torch.relu(self.second(x)[:, :, :-2])
        x = self.pool(self.fourth(self.third(x)))
        return self.gru(x.transpose(1, 2))[0]


class Flat(nn.Module):
    """All steps in one product, before and after a convolution."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(3, 4, 3)
        self.one = nn.Linear(16, 5)
        self.two = nn.Linear(18, 5)

    def forward(self, x):
        a = self.one(nn.Flatten()(torch.relu(self.conv(x.transpose(1, 2)))))
        return torch.cat([a, self.two(x.flatten(1))], 1)


class Steps(nn.Module):
    """Single steps and ranges of them, of outputs in both directions."""

    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(3, 4, bidirectional=True, batch_first=True)
        self.fc = nn.Linear(8, 4)

    def forward(self, x):
        y, _ = self.gru(x)
        a = torch.cat([y[:, -1], y[:, 0], y[:, 2], y[:, -2]], 1)
        b = self.fc(y[:, 1:]).mean(1)
        return torch.cat([a, b, y[:, :-1].max(1).values, y[:, 1:-1].mean(1)], 1)


class States(nn.Module):
    """States that callers give, and get."""

    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(3, 4, 2, batch_first=True)
        self.fc = nn.Linear(4, 2)

    def forward(self, x, h0):
        y, h = self.gru(x, h0)
        return self.fc(y), h


class Packed(nn.Module):
    """Sequences of different lengths, then layers that know none."""

    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(3, 4, batch_first=True)
        self.second = nn.GRU(4, 5, batch_first=True)
        self.fc = nn.Linear(4, 2)

    def forward(self, x, lengths):
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True)
        y, h = self.gru(packed)
        y, _ = nn.utils.rnn.pad_packed_sequence(y, batch_first=True, total_length=6)
        z, _ = self.second(y)
        return torch.cat([self.fc(y).mean(1), h[-1], y.max(1).values, z.mean(1)], 1)


class Tied(nn.Module):
    """One matrix for the tokens that come in and those that go out."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(9, 5)
        self.gru = nn.GRU(5, 5, batch_first=True)

    def forward(self, ids):
        y, _ = self.gru(self.embed(ids))
        return torch.log_softmax(y @ self.embed.weight.t(), -1)


class Branches(nn.Module):
    """Two inputs, two outputs, features taken apart."""

    def __init__(self):
        super().__init__()
        self.one = nn.GRU(2, 4, batch_first=True)
        self.two = nn.GRU(3, 4, batch_first=True)
        self.norm = nn.BatchNorm1d(8)
        self.norm.running_mean.uniform_(-1, 1)
        self.norm.running_var.uniform_(0.5, 2)
        self.fc = nn.Linear(8, 3)

    def forward(self, x, y):
        a, _ = self.one(x[..., :2])
        b, h = self.two(y)
        both = torch.cat([a, b], 2)
        z = self.norm(both.transpose(1, 2)).transpose(1, 2)
        first, second = z.split([3, 5], -1)
        return torch.softmax(self.fc(z), -1), torch.cat([first.mean(1), second[:, :, [0, 2]].mean(1), h[-1]], 1)


class Cross(nn.Module):
    """Heads whose queries and keys are of different lengths; the decoder begins where both directions ended."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.GRU(3, 8, batch_first=True, bidirectional=True)
        self.decoder = nn.GRU(4, 16, batch_first=True)
        self.attention = nn.MultiheadAttention(16, 4, batch_first=True)
        self.fc = nn.Linear(32, 5)

    def forward(self, x, y):
        keys, h = self.encoder(x)
        queries, _ = self.decoder(y, torch.cat([h[0], h[1]], 1).unsqueeze(0))
        context, _ = self.attention(queries, keys, keys)
        return self.fc(torch.cat([queries, context], -1))


class Bridge(nn.Module):
    """States of two layers in both directions, mapped into those of a decoder."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.GRU(3, 4, 2, batch_first=True, bidirectional=True)
        self.fc = nn.Linear(8, 4)
        self.decoder = nn.GRU(4, 4, 2, batch_first=True)

    def forward(self, x, y):
        _, h = self.encoder(x)
        last = torch.cat([h[-2], h[-1]], 1)
        h = h.view(2, 2, x.shape[0], 4)
        h = torch.tanh(self.fc(torch.cat([h[:, 0], h[:, 1]], -1)))
        z, _ = self.decoder(y, h)
        return torch.cat([z, last.unsqueeze(1).expand(-1, y.shape[1], -1)], -1)


class Learned(nn.Module):
    """Initial states that were trained, in both directions of two layers."""

    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(3, 4, 2, batch_first=True, bidirectional=True)
        self.h0 = nn.Parameter(torch.randn(4, 1, 4))

    def forward(self, x):
        return self.gru(x, self.h0.expand(-1, x.shape[0], -1).contiguous())[0]


class Gated(nn.Module):
    """Gated convolutions with skips, and features weighted by what all steps say."""

    def __init__(self):
        super().__init__()
        self.inp = nn.Conv1d(3, 6, 1)
        self.convs = nn.ModuleList(nn.Conv1d(6, 12, 2, dilation=2**k) for k in range(2))
        self.outs = nn.ModuleList(nn.Conv1d(6, 6, 1) for _ in range(2))
        self.gru = nn.GRU(6, 6, batch_first=True)
        self.weigh = nn.Sequential(nn.Linear(6, 3), nn.ReLU(), nn.Linear(3, 6), nn.Sigmoid())
        self.where = nn.Parameter(torch.randn(1, 6, 6))

    def forward(self, x):
        x = self.inp(x.transpose(1, 2))
        skip = 0
        for k, (conv, out) in enumerate(zip(self.convs, self.outs)):
            a, b = conv(nn.functional.pad(x, (2**k, 0))).chunk(2, 1)
            y = out(torch.tanh(a) * torch.sigmoid(b))
            skip, x = skip + y, x + y
        y, _ = self.gru(skip.transpose(1, 2) + self.where)
        return y * self.weigh(y.mean(1)).unsqueeze(1)


class Columns(nn.Module):
    """Attention whose scores are products with a vector."""

    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(3, 4, batch_first=True)
        self.keys = nn.Linear(4, 4)
        self.query = nn.Linear(4, 4)
        self.v = nn.Parameter(torch.randn(4))
        self.w = nn.Parameter(torch.randn(4))

    def forward(self, x):
        y, h = self.gru(x)
        energy = torch.tanh(self.keys(y) + self.query(h[-1]).unsqueeze(1))
        one = torch.softmax(torch.sum(energy * self.v, -1), 1)
        two = torch.softmax(torch.matmul(torch.tanh(y), self.w), 1)
        return torch.cat([torch.sum(y * w.unsqueeze(-1), 1) for w in (one, two)], 1)


class Mixed(nn.Module):
    """Tokens of two kinds beside numbers; normalisations without weights; the smallest and the sum of all steps."""

    def __init__(self):
        super().__init__()
        self.one = nn.Embedding(9, 4)
        self.two = nn.Embedding(5, 3)
        self.gru = nn.GRU(8, 4, batch_first=True)
        self.norm = nn.BatchNorm1d(4)
        self.prelu = nn.PReLU(4)

    def forward(self, i, j, x):
        y, _ = self.gru(torch.cat([self.one(i), self.two(j), x], -1))
        y = (y - y.mean(-1, keepdim=True)) / torch.sqrt(((y - y.mean(-1, keepdim=True)) ** 2).mean(-1, keepdim=True) + 1e-5)
        y = self.prelu(self.norm(y.transpose(1, 2))).transpose(1, 2)
        return torch.cat([y.min(1).values, y[:, -1], y.max(1).values], 1)


class AllStates(nn.Module):
    """Last states of all layers and directions, in other orders and as one."""

    def __init__(self):
        super().__init__()
        self.one = nn.GRU(3, 4, 2, batch_first=True, bidirectional=True)
        self.two = nn.GRU(3, 4, 3, batch_first=True)

    def forward(self, x):
        _, h = self.one(x)
        _, g = self.two(x)
        a = h.permute(1, 0, 2).reshape(-1, 16)
        b = g.transpose(0, 1).flatten(1)
        return torch.cat([a, b, g.mean(0), h.view(2, 2, -1, 4)[-1, 0], h[-3]], 1)


class Cells(nn.Module):
    """nn.GRUCell in loops: all states through a layer, and the last one of a second loop."""

    def __init__(self):
        super().__init__()
        self.one = nn.GRUCell(3, 4)
        self.two = nn.GRUCell(3, 5)
        self.fc = nn.Linear(4, 2)

    def forward(self, x):
        h, g = torch.zeros(x.shape[0], 4), torch.zeros(x.shape[0], 5)
        all = []
        for t in range(6):
            h = self.one(x[:, t], h)
            g = self.two(x[:, t], g)
            all.append(torch.tanh(self.fc(h)))
        return torch.stack(all, 1), g


def main(folder):
    cases = []
    torch.manual_seed(12)
    x = torch.randn(2, 6, 3)
    old = range(7, 18)
    some = (9, 11, 13, 17)
    state = torch.randn(2, 2, 4)
    networks = [
        *((net, old, {"x": x}) for net in (Last(), LastLater(), Both(), Reverse(), Convolved())),
        (Normed(), old, {"x": torch.randn(6, 2, 3)}),
        (Zeros(), old, {"x": torch.randint(0, 9, (2, 6))}),
        *((net, old, {"x": x}) for net in (Scaled(), Residual())),
        (Luong(), some, {"x": x, "y": torch.randn(2, 4, 4)}),
        *((net, some, {"x": x}) for net in (
            Bahdanau(), BahdanauBeside(), Pooled(), Dot(), Heads(), OwnHeads(), Masked(), Activations(), Causal(), Flat(), Steps())),
        (HeadsTimeFirst(), some, {"x": torch.randn(6, 2, 3)}),
        (States(), some, {"x": x, "h0": state}),
        (Packed(), some, {"x": x, "lengths": torch.tensor([6, 4])}),
        (Tied(), some, {"x": torch.randint(0, 9, (2, 6))}),
        (Branches(), some, {"x": x, "y": torch.randn(2, 6, 3)}),
        *((net, some, {"x": x, "y": torch.randn(2, 4, 4)}) for net in (Cross(), Bridge())),
        *((net, some, {"x": x}) for net in (Learned(), Gated(), Columns(), AllStates(), Cells())),
        (Mixed(), some, {"i": torch.randint(0, 9, (2, 6)), "j": torch.randint(0, 5, (2, 6)), "x": torch.randn(2, 6, 1)}),
    ]  # fmt: skip
    for net, opsets, given in networks:
        net.eval()
        name = type(net).__name__
        with torch.no_grad():
            made = net(*given.values())
        outputs = dict(zip(["out", "other"], made if isinstance(made, tuple) else (made,)))
        time_first = name in ("Normed", "HeadsTimeFirst")
        for opset in opsets:
            for dynamic in (False,) if name == "Flat" else (True, False):
                file = f"{name}-{opset}-{'dynamic' if dynamic else 'fixed'}.onnx"
                axes = {
                    key: {1: "batch"} if key == "h0" else {0: "batch"} if t.dim() == 1 else {0: "time", 1: "batch"} if time_first
                    else {0: "batch", 1: "time"} for key, t in given.items()
                }  # fmt: skip
                try:
                    torch.onnx.export(net, tuple(given.values()), os.path.join(folder, file), input_names=list(given),
                                      output_names=list(outputs), opset_version=opset, dynamic_axes=axes if dynamic else None)  # fmt: skip
                except Exception as error:
                    print("PyTorch does not export", file, str(error)[:80].replace("\n", " "))
                    continue
                cases.append({
                    "file": file, "timeFirst": time_first,
                    "inputs": {key: {"shape": list(t.shape), "data": t.flatten().tolist(), "whole": not t.is_floating_point()}
                               for key, t in given.items()},
                    "outputs": {key: {"shape": list(t.shape), "data": t.flatten().tolist()} for key, t in outputs.items()},
                })  # fmt: skip
    json.dump(cases, open(os.path.join(folder, "cases.json"), "w"))


if __name__ == "__main__":
    main(sys.argv[1])
