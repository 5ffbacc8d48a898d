"""Which shared libraries an ELF file asks for: just enough of the format for that."""

import struct

PT_LOAD, PT_DYNAMIC, PT_INTERP = 1, 2, 3
DT_NEEDED, DT_STRTAB = 1, 5


def needed(data):
    """The names in DT_NEEDED and the program interpreter's path (or None). No ELF file: ([], None)."""
    if data[:4] != b"\x7fELF":
        return [], None
    wide = data[4] == 2
    segments = _segments(data, wide)
    interpreter = None
    names = []
    for kind, offset, _, size in segments:
        if kind == PT_INTERP:
            interpreter = data[offset : offset + size].rstrip(b"\0").decode()
        if kind == PT_DYNAMIC:
            names = _needed_names(data, wide, segments, offset, size)
    return names, interpreter


def _segments(data, wide):
    """(type, file offset, address, size in the file) of each program header."""
    if wide:
        (start,) = struct.unpack_from("<Q", data, 32)
        entry_size, count = struct.unpack_from("<HH", data, 54)
    else:
        (start,) = struct.unpack_from("<I", data, 28)
        entry_size, count = struct.unpack_from("<HH", data, 42)
    segments = []
    for index in range(count):
        at = start + index * entry_size
        if wide:
            kind, _, offset, address, _, size = struct.unpack_from("<IIQQQQ", data, at)
        else:
            kind, offset, address, _, size = struct.unpack_from("<IIIII", data, at)
        segments.append((kind, offset, address, size))
    return segments


def _needed_names(data, wide, segments, offset, size):
    form = "<QQ" if wide else "<II"
    tags = [struct.unpack_from(form, data, at) for at in range(offset, offset + size, struct.calcsize(form))]
    tables = [value for tag, value in tags if tag == DT_STRTAB]
    if not tables:
        return []
    strings = _file_offset(segments, tables[0])
    names = []
    for tag, value in tags:
        if tag == 0:
            break
        if tag == DT_NEEDED:
            start = strings + value
            names.append(data[start : data.index(b"\0", start)].decode())
    return names


def _file_offset(segments, address):
    for kind, offset, start, size in segments:
        if kind == PT_LOAD and start <= address < start + size:
            return address - start + offset
    raise ValueError(f"no segment holds address {address:#x}")
