"""Reads and writes the safetensors format with numpy alone: 8-byte header length, JSON header, raw tensors."""
import json
import struct

import numpy as np

DTYPES = {"F32": np.float32, "I32": np.int32, "BF16": np.uint16, "U8": np.uint8}


def write(path, tensors, metadata=None):
    header = {"__metadata__": metadata} if metadata else {}
    offset = 0
    for name, array in tensors.items():
        kind = next(k for k, dtype in DTYPES.items() if array.dtype == dtype)
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [offset, offset + array.nbytes]}
        offset += array.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for array in tensors.values():
            file.write(np.ascontiguousarray(array).tobytes())


def read(path):
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        content = file.read()
    header.pop("__metadata__", None)
    return {
        name: np.frombuffer(content[slice(*entry["data_offsets"])], DTYPES[entry["dtype"]]).reshape(entry["shape"])
        for name, entry in header.items()
    }
