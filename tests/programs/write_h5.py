"""h5py writes what HDF5 can hold, in one of its versions.

    python3 write_h5.py FILE VERSION

VERSION is an argument `libver` of h5py.File. Prints attributes of the root, members of "many" and numbers as JSON.
"""

import json
import sys

import h5py
import numpy as np

path, version = sys.argv[1:]
rng = np.random.RandomState(1)
x = rng.rand(60, 50).astype("f4")
with h5py.File(path, "w", libver=version, track_order=version == "v110") as f:
    f.attrs["text"] = "tëxt"
    f.attrs["list"] = [b"a", b"", b"bcc"]
    f.attrs["varying"] = np.array(["one", "two"], dtype=h5py.string_dtype())
    f.attrs["long"] = "x" * 100_000
    for i in range(40):
        f.attrs[f"attribute {i}"] = f"value {i}" * (i + 1)
    many = f.create_group("many")
    for i in range(1500):
        many.create_group(f"group {i}").attrs["i"] = str(i)
    f["contiguous"] = x
    f["scalar"] = np.float32(3.25)
    f["whole"] = np.arange(-3, 4)
    f["half"] = x[:3].astype("f2")
    f["turned"] = x.astype(">f8")
    for name, rows in {"one chunk": (60, 50), "chunks": (7, 11)}.items():
        f.create_dataset(name, data=x, chunks=rows)
        f.create_dataset(f"{name}, packed", data=x, chunks=rows, compression="gzip", shuffle=True, fletcher32=True)
    f.create_dataset("pages", data=rng.rand(3000), chunks=(1,))
    f.create_dataset("pages, packed", data=rng.rand(2500), chunks=(1,), compression="gzip")
    f.create_dataset("two axes that grow", data=x, maxshape=(None, None), chunks=(3, 2))
    f.create_dataset("two axes that grow, packed", data=x, maxshape=(None, None), chunks=(3, 2), compression="gzip")
    f.create_dataset("filled", shape=(20, 30), chunks=(4, 4), dtype="f4", fillvalue=2.5)[5:7] = 1
    f.create_dataset("filled, turned", shape=(5,), dtype=">f4", fillvalue=-3)
    early = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    early.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    early.set_chunk((7, 11))
    space = h5py.h5s.create_simple((60, 50))
    h5py.h5d.create(f.id, b"implied chunks", h5py.h5t.IEEE_F32LE, space, early).write(h5py.h5s.ALL, h5py.h5s.ALL, x)
    f["linked"] = h5py.SoftLink("/contiguous")
    f["many/linked"] = h5py.SoftLink("group 7")
    f["circle"] = h5py.SoftLink("/circle")
    f["elsewhere"] = h5py.ExternalLink("other.h5", "/x")
    f.create_dataset("lzf", data=x, compression="lzf")
    if version != "earliest":
        f.create_dataset("one axis that grows", data=x[0], maxshape=(None,), chunks=(2,))


def plain(v):
    return v if isinstance(v, str) else [e.decode() if isinstance(e, bytes) else e for e in v]


with h5py.File(path) as f:
    unread = ("circle", "elsewhere", "lzf", "one axis that grows", "many")
    data = {k: f[k] for k in f if k not in unread}
    json.dump({
        "attributes": {k: plain(v) for k, v in f.attrs.items()},
        "many": sorted(f["many"]),
        "data": {k: {"shape": d.shape, "data": np.float64(np.float32(d[()])).reshape(-1).tolist()} for k, d in data.items()},
    }, sys.stdout)
