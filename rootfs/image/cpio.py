"""A file tree in memory, and the cpio archive (newc) that the kernel unpacks as its first root.

The tree lives in memory so that owners, modes and device nodes need no root on the build host and
no scratch directory, and so that the same inputs give the same bytes: entries are written in the
order of their names, times are 0, inode numbers count up.
"""

import stat


class Tree:
    """Paths without a leading slash; every directory on the way is made when it is missing."""

    def __init__(self):
        self.entries = {}  # path -> (mode, uid, gid, content or link target, device or None)
        self.links = {}  # directory that is a link, such as bin -> usr/bin

    def resolve(self, path):
        """The path with a merged-/usr link at its front replaced by what the link points to."""
        path = path.strip("/")
        head, _, rest = path.partition("/")
        if rest and head in self.links:
            return self.links[head] + "/" + rest
        return path

    def _put(self, path, entry):
        path = self.resolve(path)
        parent = path.rpartition("/")[0]
        if parent and parent not in self.entries:
            self.directory(parent)
        self.entries[path] = entry

    def directory(self, path, mode=0o755, uid=0, gid=0):
        self._put(path, (stat.S_IFDIR | mode, uid, gid, b"", None))

    def file(self, path, content, mode=0o644, uid=0, gid=0):
        if isinstance(content, str):
            content = content.encode()
        self._put(path, (stat.S_IFREG | mode, uid, gid, content, None))

    def symlink(self, path, target):
        self._put(path, (stat.S_IFLNK | 0o777, 0, 0, target.encode(), None))

    def directory_link(self, path, target):
        """A link to a directory that later paths may go through."""
        self.directory(target)
        self.symlink(path, target)
        self.links[path] = target

    def character_device(self, path, major, minor, mode=0o600):
        self._put(path, (stat.S_IFCHR | mode, 0, 0, b"", (major, minor)))

    def has(self, path):
        return self.resolve(path) in self.entries

    def content(self, path):
        """The bytes of a regular file, or None."""
        entry = self.entries.get(self.resolve(path))
        return entry[3] if entry and stat.S_ISREG(entry[0]) else None

    def copy(self, source, path):
        """A host directory with everything in it, owned by root, modes kept."""
        for item in sorted(source.iterdir()):
            name = f"{path}/{item.name}".strip("/")
            if item.is_symlink():
                self.symlink(name, str(item.readlink()))
            elif item.is_dir():
                if self.resolve(name) in self.links:  # usr-merged: its content goes where the link points
                    self.copy(item, self.links[name])
                    continue
                if not self.has(name):
                    self.directory(name, item.stat().st_mode & 0o7777)
                self.copy(item, name)
            else:
                self.file(name, item.read_bytes(), item.stat().st_mode & 0o7777)


def write(tree, out):
    """Writes the tree as a newc archive to the open binary file `out`."""
    for inode, path in enumerate(sorted(tree.entries), start=1):
        _write_entry(out, inode, path, *tree.entries[path])
    _write_entry(out, 0, "TRAILER!!!", 0, 0, 0, b"", None)


def _write_entry(out, inode, path, mode, uid, gid, content, device):
    major, minor = device or (0, 0)
    links = 2 if stat.S_ISDIR(mode) else 1
    name = path.encode() + b"\0"
    fields = (inode, mode, uid, gid, links, 0, len(content), 0, 0, major, minor, len(name), 0)
    header = b"070701" + b"".join(b"%08X" % field for field in fields)
    out.write(header + name + _padding(len(header) + len(name)))
    out.write(content + _padding(len(content)))


def _padding(length):
    return b"\0" * (-length % 4)
