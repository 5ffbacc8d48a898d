//! Sockets and waiting: packets with descriptors, `poll`.

use super::*;

pub fn socketpair() -> Result<(i32, i32), Errno> {
    let mut ends = [-1; 2];
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
    // SAFETY: `ends` has room for two descriptors.
    check(unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, ends.as_mut_ptr()) })?;
    let [ours, theirs] = ends;
    Ok((ours, theirs))
}

/// Most descriptors the kernel lets through with one packet.
pub const FDS_MAX: usize = 253;

/// What came with a packet.
pub struct Packet {
    pub len: usize,
    pub fds: usize,
    /// The packet was longer than the buffer.
    pub cut: bool,
}

// Room for one control message with FDS_MAX descriptors; u64 for its alignment.
const CONTROL: usize = (FDS_MAX * 4 + 64) / 8;

/// Receives one packet without waiting. `Ok` with length 0: the other end is closed.
pub fn receive(fd: i32, buf: &mut [u8], fds: &mut [i32; FDS_MAX]) -> Result<Packet, Errno> {
    let mut control = [0u64; CONTROL];
    let mut part = libc::iovec {
        iov_base: buf.as_mut_ptr().cast(),
        iov_len: buf.len(),
    };
    let mut message = MaybeUninit::<libc::msghdr>::zeroed();
    let mut count = 0;
    // SAFETY: all-zero is a valid msghdr; its pointers are to live locals with their lengths; the
    // control messages are walked with the system's macros within what the kernel wrote.
    let (got, flags) = unsafe {
        let message = message.assume_init_mut();
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = size_of::<[u64; CONTROL]>() as _;
        let got = libc::recvmsg(fd, message, libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC);
        if got < 0 {
            return Err(errno());
        }
        let mut header = libc::CMSG_FIRSTHDR(message);
        for _ in 0..4 {
            if header.is_null() {
                break;
            }
            if (*header).cmsg_level == libc::SOL_SOCKET && (*header).cmsg_type == libc::SCM_RIGHTS {
                let bytes =
                    ((*header).cmsg_len as usize).saturating_sub(libc::CMSG_LEN(0) as usize);
                let data = libc::CMSG_DATA(header).cast::<c_int>();
                for index in 0..bytes / size_of::<c_int>() {
                    let one = ptr::read_unaligned(data.add(index));
                    match fds.get_mut(count) {
                        Some(place) => {
                            *place = one;
                            count += 1;
                        }
                        None => close(one),
                    }
                }
            }
            header = libc::CMSG_NXTHDR(message, header);
        }
        (got as usize, message.msg_flags)
    };
    Ok(Packet {
        len: got,
        fds: count,
        cut: flags & libc::MSG_TRUNC != 0,
    })
}

/// Sends one packet without waiting, with at most one descriptor.
pub fn send(fd: i32, bytes: &[u8], with: Option<i32>) -> Result<(), Errno> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    let Some(with) = with else {
        // SAFETY: pointer and length are of one slice.
        let sent = unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), flags) };
        return if sent < 0 { Err(errno()) } else { Ok(()) };
    };
    let mut control = [0u64; 4];
    let mut part = libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };
    let mut message = MaybeUninit::<libc::msghdr>::zeroed();
    // SAFETY: all-zero is a valid msghdr; its pointers are to live locals with their lengths;
    // `control` has room for the one header and the one descriptor written into it.
    let sent = unsafe {
        let message = message.assume_init_mut();
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = libc::CMSG_SPACE(size_of::<c_int>() as _) as _;
        let header = libc::CMSG_FIRSTHDR(message);
        if header.is_null() {
            return Err(libc::EINVAL);
        }
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(size_of::<c_int>() as _) as _;
        ptr::write_unaligned(libc::CMSG_DATA(header).cast::<c_int>(), with);
        libc::sendmsg(fd, message, flags)
    };
    if sent < 0 { Err(errno()) } else { Ok(()) }
}

/// Whether everything sent on a Unix socket was read.
pub fn all_read(fd: i32) -> bool {
    let mut unread: c_int = 0;
    // SAFETY: TIOCOUTQ writes one int.
    let result = unsafe { libc::ioctl(fd, libc::TIOCOUTQ as _, &raw mut unread) };
    result != 0 || unread == 0
}

/// Waits for one of two descriptors (−1: none); the events that came. `None`: for ever.
pub fn poll(first: i32, second: (i32, i16), timeout_ms: Option<u64>) -> (bool, i16) {
    let mut both = [
        libc::pollfd {
            fd: first,
            events: libc::POLLIN,
            revents: 0,
        },
        libc::pollfd {
            fd: second.0,
            events: second.1,
            revents: 0,
        },
    ];
    let timeout = timeout_ms.map_or(-1, |ms| ms.min(0x7fff_ffff) as c_int);
    // SAFETY: `both` holds the two entries announced.
    unsafe { libc::poll(both.as_mut_ptr(), 2, timeout) };
    let [first, second] = both;
    (first.revents != 0, second.revents)
}
