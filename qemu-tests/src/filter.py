# filter.py NUMBERS PROGRAM ARGS…: runs a program for which these system calls answer ENOSYS.
import ctypes, os, struct, sys
numbers = [int(n) for n in sys.argv[1].split(",")]
# struct sock_filter {u16 code; u8 jt, jf; u32 k}: load the number, compare, return.
code = struct.pack("HBBI", 0x20, 0, 0, 0)
for left, number in zip(range(len(numbers), 0, -1), numbers):
    code += struct.pack("HBBI", 0x15, left, 0, number)
code += struct.pack("HBBI", 0x06, 0, 0, 0x7FFF0000)
code += struct.pack("HBBI", 0x06, 0, 0, 0x00050000 | 38)
buffer = ctypes.create_string_buffer(code)
program = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(buffer))
holder = ctypes.create_string_buffer(program)
libc = ctypes.CDLL(None, use_errno=True)
if libc.prctl(22, 2, ctypes.byref(holder), 0, 0) != 0:
    sys.exit("seccomp: " + os.strerror(ctypes.get_errno()))
os.execvp(sys.argv[2], sys.argv[2:])
