"""PyTorch on one thread. Reads commands as lines of JSON, answers each with one line.

{"layers": [...], "x": {...}, "y": [...], "training": true}   builds the model (Keras layouts in)
{"run": 10}       so many calls; milliseconds in all, on the clock and of the processor
{"predict": 1}    outputs, as base64 of float32
{"losses": 5}     that many training steps, the loss before each
{"memory": 1}     peak of the process, in MB
"""
import base64
import json
import sys
import time

import numpy
import torch

torch.set_num_threads(1)
torch.set_num_interop_threads(1)


def array(t):
    return numpy.frombuffer(base64.b64decode(t["data"]), dtype=numpy.float32).reshape(t["shape"]).copy()


def rzn(a, units):
    """Keras's columns z, r, n as PyTorch's rows r, z, n."""
    z, r, n = a[..., :units], a[..., units : 2 * units], a[..., 2 * units :]
    return torch.from_numpy(numpy.concatenate([r, z, n], axis=-1).T.copy())


class Model(torch.nn.Module):
    def __init__(self, layers):
        super().__init__()
        self.grus = torch.nn.ModuleList()
        self.head = None
        for layer in layers:
            kernel, bias = array(layer["kernel"]), array(layer["bias"])
            with torch.no_grad():
                if layer["type"] == "dense":
                    self.head = torch.nn.Linear(*kernel.shape)
                    self.head.weight.copy_(torch.from_numpy(kernel.T.copy()))
                    self.head.bias.copy_(torch.from_numpy(bias))
                else:
                    units = kernel.shape[1] // 3
                    cell = torch.nn.GRU(kernel.shape[0], units)
                    cell.weight_ih_l0.copy_(rzn(kernel, units))
                    cell.weight_hh_l0.copy_(rzn(array(layer["recurrentKernel"]), units))
                    cell.bias_ih_l0.copy_(rzn(bias[0], units))
                    cell.bias_hh_l0.copy_(rzn(bias[1], units))
                    self.grus.append(cell)

    def forward(self, x):  # [T, B, I], its favourite order
        for cell in self.grus:
            x, h = cell(x)
        return self.head(h[0]) if self.head is not None else h[0]


model = x = y = optimizer = None
criterion = torch.nn.CrossEntropyLoss()


def step():
    optimizer.zero_grad(set_to_none=True)
    loss = criterion(model(x), y)
    loss.backward()
    optimizer.step()
    return loss


def predict():
    with torch.inference_mode():
        return torch.softmax(model(x), 1)


for line in sys.stdin:
    command = json.loads(line)
    if "layers" in command:
        model = Model(command["layers"])
        x, y = torch.from_numpy(array(command["x"])), torch.tensor(command["y"])
        optimizer = torch.optim.Adam(model.parameters(), lr=command["learningRate"])
        reply = {"version": torch.__version__, "threads": torch.get_num_threads()}
    elif "run" in command:
        start, before = time.perf_counter(), time.process_time()
        for _ in range(command["run"]):
            step()
        ms, cpu = (time.perf_counter() - start) * 1000, (time.process_time() - before) * 1000
        reply = {"ms": ms, "cpu": cpu}
    elif "predict" in command:
        reply = {"data": base64.b64encode(predict().numpy().tobytes()).decode()}
    elif "losses" in command:
        reply = {"losses": [float(step()) for _ in range(command["losses"])]}
    else:
        with open("/proc/self/status") as status:
            peak = next(row for row in status if row.startswith("VmHWM"))
        reply = {"mb": int(peak.split()[1]) / 1024}
    print(json.dumps(reply), flush=True)
