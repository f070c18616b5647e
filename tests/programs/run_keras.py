"""Keras runs what gruvy exported.

    python3 run_keras.py DIR

For every NAME.json in DIR, {"files": [...], "inputs": [tensor], "outputs": [tensor]}, each file is loaded and run;
prints one JSON line a file: {"file", "error"} with the largest difference, or what Keras said.
"""

import glob
import json
import os
import sys

os.environ.setdefault("KERAS_BACKEND", "jax")
import keras
import numpy as np


def array(t):
    return np.array(t["data"], dtype=t["dtype"]).reshape(t["shape"])


for path in sorted(glob.glob(os.path.join(sys.argv[1], "*.json"))):
    case = json.load(open(path))
    xs = [array(t) for t in case["inputs"]]
    for file in case["files"]:
        try:
            model = keras.models.load_model(os.path.join(sys.argv[1], file), compile=False)
            ys = model.predict(xs if len(xs) > 1 else xs[0], verbose=0)
            ys = ys if isinstance(ys, (list, tuple)) else [ys]
            error = max(float(np.abs(y - array(t)).max()) for y, t in zip(ys, case["outputs"], strict=True))
            print(json.dumps({"file": file, "error": error}))
        except Exception as e:
            print(json.dumps({"file": file, "error": repr(e)[:500]}))
