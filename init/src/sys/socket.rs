//! Sockets and waiting: packets with descriptors, `poll`. The structures are the kernel's own, which
//! are the same everywhere but for the size of a word.

use super::*;

#[repr(C)]
struct Part {
    base: *mut u8,
    len: usize,
}

#[repr(C)]
struct Message {
    name: usize,
    name_len: usize,
    parts: *mut Part,
    parts_len: usize,
    control: *mut u8,
    control_len: usize,
    flags: usize,
}

/// Most descriptors the kernel lets through with one packet.
pub const FDS_MAX: usize = 253;

/// A control message that carries descriptors, with room for `N`.
#[repr(C)]
struct Rights<const N: usize> {
    len: usize,
    level: c_int,
    kind: c_int,
    fds: [i32; N],
}

const RIGHTS_HEAD: usize = size_of::<Rights<0>>();

pub fn socketpair() -> Result<(i32, i32), Errno> {
    let mut ends = [-1i32; 2];
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
    // SAFETY: `ends` has room for two descriptors.
    check(unsafe {
        call!(
            libc::SYS_socketpair,
            libc::AF_UNIX,
            kind,
            0,
            ends.as_mut_ptr()
        )
    })?;
    let [ours, theirs] = ends;
    Ok((ours, theirs))
}

/// A packet that was received.
pub struct Packet<const SIZE: usize> {
    bytes: [u8; SIZE],
    len: usize,
    rights: Rights<FDS_MAX>,
    /// The packet was longer than the buffer.
    pub cut: bool,
}

impl<const SIZE: usize> Packet<SIZE> {
    /// Room for a packet.
    pub const fn new() -> Self {
        let rights = Rights {
            len: 0,
            level: 0,
            kind: 0,
            fds: [0; FDS_MAX],
        };
        Packet {
            bytes: [0; SIZE],
            len: 0,
            rights,
            cut: false,
        }
    }

    /// What was sent.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    /// What came with it. (The peer is told apart by its descriptor alone: there is no other kind of
    /// control message on a socket without options, and only one of these.)
    pub fn fds(&self) -> &[i32] {
        let bytes = self.rights.len.saturating_sub(RIGHTS_HEAD);
        self.rights
            .fds
            .get(..bytes / size_of::<c_int>())
            .unwrap_or_default()
    }

    /// Receives the next packet without waiting. Empty and without descriptors: the other end is
    /// closed, or sent nothing.
    pub fn receive(&mut self, fd: i32) -> Result<(), Errno> {
        let mut part = Part {
            base: self.bytes.as_mut_ptr(),
            len: SIZE,
        };
        let mut message = Message {
            name: 0,
            name_len: 0,
            parts: &raw mut part,
            parts_len: 1,
            control: (&raw mut self.rights).cast(),
            control_len: size_of::<Rights<FDS_MAX>>(),
            flags: 0,
        };
        self.rights.len = 0;
        self.len = 0;
        let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
        // SAFETY: the message's pointers are to live values with their lengths.
        let got = check(unsafe { call!(libc::SYS_recvmsg, fd, &raw mut message, flags) })?;
        self.len = got as usize;
        self.cut = message.flags as c_int & libc::MSG_TRUNC != 0;
        Ok(())
    }
}

/// Sends one packet without waiting, with at most one descriptor.
pub fn send(fd: i32, bytes: &[u8], with: Option<i32>) -> Result<(), Errno> {
    let mut part = Part {
        base: bytes.as_ptr().cast_mut(),
        len: bytes.len(),
    };
    let mut rights = Rights {
        len: RIGHTS_HEAD + size_of::<c_int>(),
        level: libc::SOL_SOCKET,
        kind: libc::SCM_RIGHTS,
        // The second place is alignment.
        fds: [with.unwrap_or_default(), 0],
    };
    let message = Message {
        name: 0,
        name_len: 0,
        parts: &raw mut part,
        parts_len: 1,
        control: (&raw mut rights).cast(),
        control_len: if with.is_some() {
            size_of::<Rights<2>>()
        } else {
            0
        },
        flags: 0,
    };
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: the message's pointers are to live values with their lengths, and only read.
    check(unsafe { call!(libc::SYS_sendmsg, fd, &raw const message, flags) }).map(drop)
}

/// Whether everything sent on a Unix socket was read.
pub fn all_read(fd: i32) -> bool {
    let mut unread: c_int = 0;
    // SAFETY: TIOCOUTQ writes one int.
    let result = unsafe { call!(libc::SYS_ioctl, fd, libc::TIOCOUTQ, &raw mut unread) };
    result != 0 || unread == 0
}

#[repr(C)]
struct Poll {
    fd: i32,
    events: i16,
    revents: i16,
}

/// Waits for one of two descriptors (−1: none); the events that came. `None`: for ever.
pub fn poll(first: i32, second: (i32, i16), timeout_ms: Option<u64>) -> (bool, i16) {
    let mut both = [
        Poll {
            fd: first,
            events: libc::POLLIN,
            revents: 0,
        },
        Poll {
            fd: second.0,
            events: second.1,
            revents: 0,
        },
    ];
    #[cfg(any(target_arch = "x86_64", target_arch = "arm"))]
    {
        let timeout = timeout_ms.map_or(-1, |ms| ms.min(0x7fff_ffff) as c_int);
        // SAFETY: `both` holds the two entries announced.
        unsafe { call!(libc::SYS_poll, both.as_mut_ptr(), 2, timeout) };
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "arm")))]
    {
        let ms = timeout_ms.unwrap_or_default().min(0x7fff_ffff);
        let time = [(ms / 1000) as usize, (ms % 1000) as usize * 1_000_000];
        let pointer = timeout_ms.map_or(ptr::null(), |_| time.as_ptr());
        // SAFETY: `both` holds the two entries announced; the time is NULL or a timespec.
        unsafe { call!(libc::SYS_ppoll, both.as_mut_ptr(), 2, pointer, 0, 0) };
    }
    let [first, second] = both;
    (first.revents != 0, second.revents)
}
