"""h5py opens what gruvy exported: prints all attributes and numbers of a .h5, or of the .h5 in a .keras, as JSON.

    python3 open_h5.py FILE
"""

import io
import json
import sys
import zipfile

import h5py
import numpy as np

path = sys.argv[1]
if path.endswith(".keras"):
    with zipfile.ZipFile(path) as z:
        assert z.testzip() is None
        source = io.BytesIO(z.read("model.weights.h5"))
else:
    source = path


def plain(value):
    if isinstance(value, bytes):
        return value.decode()
    return [plain(v) for v in value] if isinstance(value, np.ndarray) else value


with h5py.File(source) as file:
    found = {"attributes": {"": {k: plain(v) for k, v in file.attrs.items()}}, "datasets": {}}

    def visit(name, item):
        found["attributes"][name] = {k: plain(v) for k, v in item.attrs.items()}
        if isinstance(item, h5py.Dataset):
            assert item.dtype == np.dtype("<f4")
            found["datasets"][name] = {"shape": item.shape, "data": [float(v) for v in item[()].reshape(-1)]}

    file.visititems(visit)
json.dump(found, sys.stdout)
