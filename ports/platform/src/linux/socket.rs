//! Local sockets: packets between our own processes, datagrams from services.
//!
//! All are non-blocking and close-on-exec. Descriptors travel beside the bytes of a packet; those
//! that arrive are owned from the first moment, so a packet that is not understood cannot leak
//! any.

use super::sys::{check, owned, retry, would_block};
use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The most descriptors that can travel with one packet (the kernel's own limit).
pub const MAX_FDS: usize = 253;

/// Bytes for control messages: the descriptors, the sender's credentials and its process
/// descriptor, each with its header and padding.
const CONTROL: usize = 16 + MAX_FDS * 4 + 4 + 64;

const SO_PEERPIDFD: libc::c_int = 77;
const SO_PASSPIDFD: libc::c_int = 76;
const SCM_PIDFD: libc::c_int = 4;

const FLAGS: libc::c_int = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Process number; 0 if it is in another process namespace.
    pub pid: u32,
    /// Effective user.
    pub uid: u32,
    /// Effective group.
    pub gid: u32,
}

/// A packet that arrived.
#[derive(Debug)]
pub struct Received {
    /// Its length in the buffer. A packet of 0 bytes cannot be told from the end of a connection;
    /// we send none.
    pub length: usize,
    /// It was longer than the buffer: the rest is lost.
    pub truncated: bool,
    /// The descriptors that came with it.
    pub fds: Vec<OwnedFd>,
    /// Some descriptors did not fit, or were more than this process may have open; the kernel has
    /// closed them.
    pub fds_lost: bool,
    /// Who sent it, on datagram sockets made by [`datagram`].
    pub sender: Option<Peer>,
    /// The sender held by a descriptor, where the kernel can do that.
    pub sender_held: Option<OwnedFd>,
}

/// An address, from a path of at most 107 bytes.
pub(super) fn address(path: &Path) -> io::Result<(libc::sockaddr_un, libc::socklen_t)> {
    // SAFETY: all-zero is a valid address.
    let mut address: libc::sockaddr_un = unsafe { zeroed() };
    address.sun_family = libc::AF_UNIX as libc::sa_family_t;
    let bytes = path.as_os_str().as_bytes();
    if bytes.is_empty() || bytes.len() >= address.sun_path.len() || bytes.contains(&0) {
        return Err(io::Error::from_raw_os_error(libc::ENAMETOOLONG));
    }
    for (to, from) in address.sun_path.iter_mut().zip(bytes) {
        *to = *from as libc::c_char;
    }
    Ok((address, size_of::<libc::sockaddr_un>() as libc::socklen_t))
}

fn new_socket(kind: libc::c_int) -> io::Result<OwnedFd> {
    // SAFETY: makes a descriptor.
    owned(unsafe { libc::socket(libc::AF_UNIX, kind | FLAGS, 0) })
}

/// Binds a socket to a path: what is there is replaced, and the mode is set before anybody can
/// have connected.
fn bind(socket: &OwnedFd, path: &Path, mode: u32) -> io::Result<()> {
    let (address, length) = address(path)?;
    // SAFETY: reads an address of the length given.
    let bind =
        || check(unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) });
    if let Err(error) = bind() {
        if error.kind() != io::ErrorKind::AddrInUse {
            return Err(error);
        }
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => bind()?,
        };
    }
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
}

/// A listening packet socket at `path`, with file mode `mode`. Up to `backlog` connections wait.
pub fn listen(path: &Path, mode: u32, backlog: i32) -> io::Result<OwnedFd> {
    let socket = new_socket(libc::SOCK_SEQPACKET)?;
    bind(&socket, path, mode)?;
    // SAFETY: an open descriptor and a number.
    check(unsafe { libc::listen(socket.as_raw_fd(), backlog) })?;
    Ok(socket)
}

/// Checks that a descriptor that was kept is a listening packet socket, and makes it as [`listen`]
/// would. `ENOTSOCK` or `EINVAL` if it is something else.
pub fn adopt_listener(fd: &impl AsFd) -> io::Result<()> {
    let kind = option(fd, libc::SO_TYPE)?;
    let accepting = option(fd, libc::SO_ACCEPTCONN)?;
    let domain = option(fd, libc::SO_DOMAIN)?;
    if (domain, kind, accepting) != (libc::AF_UNIX, libc::SOCK_SEQPACKET, 1) {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    super::fd::set_inheritable(fd, false)?;
    super::fd::set_nonblocking(fd, true)
}

/// The next connection that waits; `None` if there is none. An error concerns that connection or
/// a lack of descriptors (`EMFILE`), not the listener.
pub fn accept(listener: &impl AsFd) -> io::Result<Option<OwnedFd>> {
    let raw = listener.as_fd().as_raw_fd();
    let nothing = std::ptr::null_mut();
    // SAFETY: makes a descriptor; no address is asked for.
    let got = retry(|| owned(unsafe { libc::accept4(raw, nothing, std::ptr::null_mut(), FLAGS) }));
    match got {
        Ok(fd) => Ok(Some(fd)),
        Err(error) if would_block(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Connects to a listener. It need not have accepted for this to succeed. `EAGAIN` if too many
/// connections wait there already.
pub fn connect(path: &Path) -> io::Result<OwnedFd> {
    let socket = new_socket(libc::SOCK_SEQPACKET)?;
    let (address, length) = address(path)?;
    retry(|| {
        // SAFETY: reads an address of the length given.
        check(unsafe { libc::connect(socket.as_raw_fd(), (&raw const address).cast(), length) })
    })?;
    Ok(socket)
}

/// Two connected packet sockets.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [-1; 2];
    // SAFETY: writes two descriptors into the array.
    check(unsafe {
        libc::socketpair(
            libc::AF_UNIX,
            libc::SOCK_SEQPACKET | FLAGS,
            0,
            ends.as_mut_ptr(),
        )
    })?;
    Ok((owned(ends[0])?, owned(ends[1])?))
}

/// A datagram socket at `path`, with file mode `mode`, that tells who sent each datagram.
pub fn datagram(path: &Path, mode: u32) -> io::Result<OwnedFd> {
    let socket = new_socket(libc::SOCK_DGRAM)?;
    tell_senders(&socket)?;
    bind(&socket, path, mode)?;
    Ok(socket)
}

/// Makes a datagram socket tell who sent each datagram; to be repeated for one that was kept only
/// if it could have been made by somebody else.
pub fn tell_senders(socket: &impl AsFd) -> io::Result<()> {
    set_option(socket, libc::SO_PASSCRED, 1)?;
    // Kernels before 6.5 do not have it; the credentials are what counts.
    let _ = set_option(socket, SO_PASSPIDFD, 1);
    Ok(())
}

pub(super) fn option(fd: &impl AsFd, name: libc::c_int) -> io::Result<libc::c_int> {
    let mut value: libc::c_int = 0;
    let mut length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: writes at most `length` bytes into the integer.
    check(unsafe {
        libc::getsockopt(
            fd.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            name,
            (&raw mut value).cast(),
            &mut length,
        )
    })?;
    Ok(value)
}

fn set_option(fd: &impl AsFd, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
    // SAFETY: reads the integer.
    check(unsafe {
        libc::setsockopt(
            fd.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            name,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    })
    .map(|_| ())
}

/// Who made the connection at the other end (or listened, seen from the one who connected).
pub fn peer(socket: &impl AsFd) -> io::Result<Peer> {
    // SAFETY: all-zero is a valid value to be written over.
    let mut cred: libc::ucred = unsafe { zeroed() };
    let mut length = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: writes at most `length` bytes into the structure.
    check(unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut cred).cast(),
            &mut length,
        )
    })?;
    Ok(Peer {
        pid: cred.pid.max(0) as u32,
        uid: cred.uid,
        gid: cred.gid,
    })
}

/// The process at the other end, held by a descriptor; `None` where the kernel cannot.
pub fn peer_held(socket: &impl AsFd) -> Option<OwnedFd> {
    option(socket, SO_PEERPIDFD)
        .ok()
        .and_then(|raw| owned(raw).ok())
}

/// A buffer for control messages, aligned as their headers must be.
#[repr(C, align(8))]
struct Control([u8; CONTROL]);

/// Sends one packet with descriptors. `WouldBlock` if the other side is not reading: nothing was
/// sent, wait until the socket is writable. `BrokenPipe` if it is gone.
pub fn send(socket: &impl AsFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    if fds.len() > MAX_FDS {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    let raw = socket.as_fd().as_raw_fd();
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    if fds.is_empty() {
        // SAFETY: the bytes are valid for their length and only read.
        return retry(|| {
            check(unsafe { libc::send(raw, bytes.as_ptr().cast(), bytes.len(), flags) })
        })
        .map(|_| ());
    }
    let mut control = Control([0; CONTROL]);
    let mut part = libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };
    let size = size_of_val(fds) as libc::c_uint;
    // SAFETY: all-zero is a valid header; the pointers set below outlive the call.
    let mut message: libc::msghdr = unsafe { zeroed() };
    message.msg_iov = &mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    // SAFETY: arithmetic only.
    message.msg_controllen = unsafe { libc::CMSG_SPACE(size) } as _;
    // SAFETY: the control buffer has room for one header and MAX_FDS descriptors, and is aligned;
    // BorrowedFd is a descriptor number in memory.
    unsafe {
        let header = libc::CMSG_FIRSTHDR(&message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(size) as _;
        std::ptr::copy_nonoverlapping(
            fds.as_ptr().cast::<u8>(),
            libc::CMSG_DATA(header),
            size_of_val(fds),
        );
    }
    // SAFETY: the message refers to the buffers above.
    retry(|| check(unsafe { libc::sendmsg(raw, &message, flags) })).map(|_| ())
}

/// Receives one packet. `None` if none is there. Length 0 is the end of the connection.
pub fn receive(socket: &impl AsFd, buffer: &mut [u8]) -> io::Result<Option<Received>> {
    receive_by(socket, buffer, 0)
}

/// As [`receive`], and leaves the packet where it is, for [`skip`]. Each time it is looked at its
/// descriptors come anew.
pub fn peek(socket: &impl AsFd, buffer: &mut [u8]) -> io::Result<Option<Received>> {
    receive_by(socket, buffer, libc::MSG_PEEK)
}

/// Takes the next packet away, if there is one, with the descriptors beside it.
pub fn skip(socket: &impl AsFd) {
    let raw = socket.as_fd().as_raw_fd();
    // SAFETY: nothing is written, the length is 0.
    let _ = unsafe { libc::recv(raw, std::ptr::null_mut(), 0, libc::MSG_DONTWAIT) };
}

fn receive_by(
    socket: &impl AsFd,
    buffer: &mut [u8],
    how: libc::c_int,
) -> io::Result<Option<Received>> {
    let raw = socket.as_fd().as_raw_fd();
    let mut control = Control([0; CONTROL]);
    let mut part = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    // SAFETY: all-zero is a valid header; the pointers set below outlive the call.
    let mut message: libc::msghdr = unsafe { zeroed() };
    message.msg_iov = &mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = CONTROL as _;
    let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC | how;
    // SAFETY: the message refers to the buffers above, with their true lengths.
    let got = retry(|| check(unsafe { libc::recvmsg(raw, &mut message, flags) }));
    let length = match got {
        Ok(length) => length as usize,
        Err(error) if would_block(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut received = Received {
        length: length.min(buffer.len()),
        truncated: message.msg_flags & libc::MSG_TRUNC != 0,
        fds: Vec::new(),
        fds_lost: message.msg_flags & libc::MSG_CTRUNC != 0,
        sender: None,
        sender_held: None,
    };
    take_control(&message, &mut received);
    Ok(Some(received))
}

/// Takes everything out of the control messages; every descriptor among them gets an owner.
fn take_control(message: &libc::msghdr, received: &mut Received) {
    // SAFETY: the kernel has written well-formed control messages into the buffer the message
    // refers to, and said how long they are; the walk stays inside. Descriptors in them were made
    // for us by the kernel.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(message);
        while !header.is_null() {
            let data = libc::CMSG_DATA(header);
            let size = ((*header).cmsg_len as usize).saturating_sub(libc::CMSG_LEN(0) as usize);
            match ((*header).cmsg_level, (*header).cmsg_type) {
                (libc::SOL_SOCKET, libc::SCM_RIGHTS) => {
                    for index in 0..size / size_of::<libc::c_int>() {
                        let raw = data.cast::<libc::c_int>().add(index).read_unaligned();
                        if raw >= 0 {
                            received.fds.push(OwnedFd::from_raw_fd(raw));
                        }
                    }
                }
                (libc::SOL_SOCKET, libc::SCM_CREDENTIALS) if size >= size_of::<libc::ucred>() => {
                    let cred = data.cast::<libc::ucred>().read_unaligned();
                    received.sender = Some(Peer {
                        pid: cred.pid.max(0) as u32,
                        uid: cred.uid,
                        gid: cred.gid,
                    });
                }
                (libc::SOL_SOCKET, SCM_PIDFD) if size >= size_of::<libc::c_int>() => {
                    let raw = data.cast::<libc::c_int>().read_unaligned();
                    if raw >= 0 {
                        received.sender_held = Some(OwnedFd::from_raw_fd(raw));
                    }
                }
                _ => {}
            }
            header = libc::CMSG_NXTHDR(message, header);
        }
    }
}
