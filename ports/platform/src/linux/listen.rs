//! Sockets and FIFOs that services listen on: made, bound and opened for connections before the
//! service exists.
//!
//! They are blocking (whoever is handed one sets that as it likes) and close-on-exec. Whoever made
//! one only waits for something to come in; it is for the service to accept or read it.

use super::files::c_path;
use super::socket::{address, option};
use super::sys::{check, owned};
use std::io;
use std::mem::{size_of, zeroed};
use std::net::{Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

/// What sort of socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Connections, as bytes.
    Stream,
    /// Packets without connections.
    Datagram,
    /// Connections, as packets.
    Packets,
}

/// Where it listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A path in the file system.
    Path(String),
    /// A local name without a file.
    Abstract(String),
    /// An Internet address.
    Internet(SocketAddr),
    /// Every address of the machine, IPv6 and IPv4 as far as there is one.
    Port(u16),
}

/// An option of a socket that takes a number or a switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // The kernel's, by its name for them.
pub enum Tune {
    KeepAlive,
    KeepAliveTime,
    KeepAliveInterval,
    KeepAliveProbes,
    NoDelay,
    DeferAccept,
    Priority,
    Mark,
    Broadcast,
    ReusePort,
    FreeBind,
    Transparent,
    PassCredentials,
    PassSecurity,
    ReceiveBuffer,
    SendBuffer,
    Ttl,
    OnlyIpv6,
}

impl Tune {
    /// The kernel's level and number.
    fn number(self) -> (libc::c_int, libc::c_int) {
        match self {
            Self::KeepAlive => (libc::SOL_SOCKET, libc::SO_KEEPALIVE),
            Self::KeepAliveTime => (libc::IPPROTO_TCP, libc::TCP_KEEPIDLE),
            Self::KeepAliveInterval => (libc::IPPROTO_TCP, libc::TCP_KEEPINTVL),
            Self::KeepAliveProbes => (libc::IPPROTO_TCP, libc::TCP_KEEPCNT),
            Self::NoDelay => (libc::IPPROTO_TCP, libc::TCP_NODELAY),
            Self::DeferAccept => (libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT),
            Self::Priority => (libc::SOL_SOCKET, libc::SO_PRIORITY),
            Self::Mark => (libc::SOL_SOCKET, libc::SO_MARK),
            Self::Broadcast => (libc::SOL_SOCKET, libc::SO_BROADCAST),
            Self::ReusePort => (libc::SOL_SOCKET, libc::SO_REUSEPORT),
            Self::FreeBind => (libc::IPPROTO_IP, libc::IP_FREEBIND),
            Self::Transparent => (libc::IPPROTO_IP, libc::IP_TRANSPARENT),
            Self::PassCredentials => (libc::SOL_SOCKET, libc::SO_PASSCRED),
            Self::PassSecurity => (libc::SOL_SOCKET, libc::SO_PASSSEC),
            Self::ReceiveBuffer => (libc::SOL_SOCKET, libc::SO_RCVBUFFORCE),
            Self::SendBuffer => (libc::SOL_SOCKET, libc::SO_SNDBUFFORCE),
            Self::Ttl => (libc::IPPROTO_IP, libc::IP_TTL),
            Self::OnlyIpv6 => (libc::IPPROTO_IPV6, libc::IPV6_V6ONLY),
        }
    }
}

/// Makes a socket that is bound to a place. `options` are set before; what the kernel says of those
/// it does not take comes back with the socket. A socket that is left at a path is replaced,
/// anything else there is `AddrInUse`.
pub fn socket(
    kind: Kind,
    place: &Place,
    options: &[(Tune, i32)],
) -> io::Result<(OwnedFd, Vec<(Tune, io::Error)>)> {
    let every = |port: u16| Place::Internet(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port));
    let place = match place {
        Place::Port(port) => &every(*port),
        place => place,
    };
    let made = new(kind, place);
    // A kernel without IPv6: every IPv4 address then.
    let without = |error: &io::Error| error.raw_os_error() == Some(libc::EAFNOSUPPORT);
    let (fd, place) = match (made, place) {
        (Err(error), Place::Internet(SocketAddr::V6(asked)))
            if without(&error) && asked.ip().is_unspecified() =>
        {
            let any = Place::Internet(SocketAddr::new([0, 0, 0, 0].into(), asked.port()));
            (new(kind, &any)?, any)
        }
        (made, place) => (made?, place.clone()),
    };
    let mut refused = Vec::new();
    if matches!(place, Place::Internet(_)) {
        set(&fd, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
    }
    for (name, value) in options {
        let (level, number) = name.number();
        if let Err(error) = set(&fd, level, number, *value) {
            refused.push((*name, error));
        }
    }
    bind(&fd, &place)?;
    Ok((fd, refused))
}

fn new(kind: Kind, place: &Place) -> io::Result<OwnedFd> {
    let (domain, kind) = numbers(kind, place);
    // SAFETY: makes a descriptor.
    owned(unsafe { libc::socket(domain, kind | libc::SOCK_CLOEXEC, 0) })
}

fn numbers(kind: Kind, place: &Place) -> (libc::c_int, libc::c_int) {
    let kind = match kind {
        Kind::Stream => libc::SOCK_STREAM,
        Kind::Datagram => libc::SOCK_DGRAM,
        Kind::Packets => libc::SOCK_SEQPACKET,
    };
    let domain = match place {
        Place::Path(_) | Place::Abstract(_) => libc::AF_UNIX,
        Place::Internet(SocketAddr::V4(_)) => libc::AF_INET,
        Place::Internet(SocketAddr::V6(_)) | Place::Port(_) => libc::AF_INET6,
    };
    (domain, kind)
}

fn set(fd: &OwnedFd, level: i32, name: i32, value: i32) -> io::Result<()> {
    let size = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: reads the integer.
    check(unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, (&raw const value).cast(), size) })
        .map(|_| ())
}

fn bind(fd: &OwnedFd, place: &Place) -> io::Result<()> {
    let call = |address: *const libc::sockaddr, length: usize| {
        // SAFETY: reads an address of the length given, which the caller holds.
        check(unsafe { libc::bind(fd.as_raw_fd(), address, length as libc::socklen_t) }).map(|_| ())
    };
    match place {
        Place::Path(path) => {
            remove_socket(Path::new(path))?;
            let (address, length) = address(Path::new(path))?;
            call((&raw const address).cast(), length as usize)
        }
        Place::Abstract(name) => {
            // The name stands behind a zero byte and ends with the length.
            let (mut address, _) = address(Path::new(&["@", name].concat()))?;
            if let Some(first) = address.sun_path.first_mut() {
                *first = 0;
            }
            let length = size_of::<libc::sa_family_t>() + 1 + name.len();
            call((&raw const address).cast(), length)
        }
        Place::Internet(SocketAddr::V4(to)) => {
            // SAFETY: all-zero is a valid address.
            let mut address: libc::sockaddr_in = unsafe { zeroed() };
            address.sin_family = libc::AF_INET as libc::sa_family_t;
            address.sin_port = to.port().to_be();
            address.sin_addr.s_addr = u32::from_ne_bytes(to.ip().octets());
            call((&raw const address).cast(), size_of_val(&address))
        }
        Place::Internet(SocketAddr::V6(to)) => {
            // SAFETY: all-zero is a valid address.
            let mut address: libc::sockaddr_in6 = unsafe { zeroed() };
            address.sin6_family = libc::AF_INET6 as libc::sa_family_t;
            address.sin6_port = to.port().to_be();
            address.sin6_addr.s6_addr = to.ip().octets();
            address.sin6_scope_id = to.scope_id();
            call((&raw const address).cast(), size_of_val(&address))
        }
        Place::Port(_) => Err(io::Error::from(io::ErrorKind::InvalidInput)),
    }
}

/// Removes a socket that a file system still has; what is no socket stays.
fn remove_socket(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => std::fs::remove_file(path),
        _ => Ok(()),
    }
}

/// Opens a bound socket for connections; up to `backlog` of them wait. Nothing to be done for
/// datagrams.
pub fn open(fd: &OwnedFd, kind: Kind, backlog: u32) -> io::Result<()> {
    if kind == Kind::Datagram {
        return Ok(());
    }
    let backlog = i32::try_from(backlog).unwrap_or(i32::MAX);
    // SAFETY: an open descriptor and a number.
    check(unsafe { libc::listen(fd.as_raw_fd(), backlog) }).map(|_| ())
}

/// Opens the FIFO at a path, which is made if nothing is there. For both directions, so that it
/// does not end with its last writer.
pub fn fifo(path: &Path) -> io::Result<OwnedFd> {
    let path = c_path(path)?;
    // SAFETY: reads a C string.
    match check(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let flags = libc::O_RDWR | libc::O_NONBLOCK | libc::O_NOFOLLOW;
    let fd = super::sys::open(&path, flags, 0)?;
    if super::fd::kind(&fd)? == super::fd::Kind::Pipe {
        super::fd::set_nonblocking(&fd, false)?;
        Ok(fd)
    } else {
        Err(io::Error::from_raw_os_error(libc::EEXIST))
    }
}

/// Gives what is at a path its mode and owner (user, group).
pub fn give(path: &Path, mode: u32, owner: Option<(u32, u32)>) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    match owner {
        Some((uid, gid)) => std::os::unix::fs::lchown(path, Some(uid), Some(gid)),
        None => Ok(()),
    }
}

/// Whether a descriptor that was kept is a socket of this kind that is open at this place.
pub fn matches(fd: &impl AsFd, kind: Kind, place: &Place) -> bool {
    let (domain, number) = numbers(kind, place);
    let is = |name, value| option(fd, name).is_ok_and(|found| found == value);
    let wildcard = matches!(place, Place::Port(_));
    (is(libc::SO_DOMAIN, domain) || wildcard && is(libc::SO_DOMAIN, libc::AF_INET))
        && is(libc::SO_TYPE, number)
        && (kind == Kind::Datagram || is(libc::SO_ACCEPTCONN, 1))
        && bound_to(fd, place)
}

/// Whether it is bound there. A path counts only while the socket is still to be found by it.
fn bound_to(fd: &impl AsFd, place: &Place) -> bool {
    // SAFETY: all-zero is a valid address to be written over.
    let mut storage: libc::sockaddr_storage = unsafe { zeroed() };
    let mut length = size_of_val(&storage) as libc::socklen_t;
    let raw = fd.as_fd().as_raw_fd();
    // SAFETY: writes at most `length` bytes into the storage, which fits every address.
    let got = check(unsafe { libc::getsockname(raw, (&raw mut storage).cast(), &mut length) });
    if got.is_err() {
        return false;
    }
    let family = libc::c_int::from(storage.ss_family);
    let at = &raw const storage;
    match place {
        Place::Path(_) | Place::Abstract(_) if family == libc::AF_UNIX => {
            // SAFETY: the family says that this is what was written; the storage is large enough.
            let found = unsafe { at.cast::<libc::sockaddr_un>().read() };
            let used = (length as usize).saturating_sub(size_of::<libc::sa_family_t>());
            let bytes: Vec<u8> = found.sun_path.iter().take(used).map(|c| *c as u8).collect();
            match place {
                Place::Path(path) => {
                    bytes.split(|byte| *byte == 0).next() == Some(path.as_bytes())
                        && super::files::exists(Path::new(path))
                }
                Place::Abstract(name) => bytes.split_first() == Some((&0, name.as_bytes())),
                _ => false,
            }
        }
        Place::Internet(SocketAddr::V4(to)) if family == libc::AF_INET => {
            // SAFETY: as above.
            let found = unsafe { at.cast::<libc::sockaddr_in>().read() };
            found.sin_port == to.port().to_be()
                && found.sin_addr.s_addr == u32::from_ne_bytes(to.ip().octets())
        }
        Place::Internet(SocketAddr::V6(to)) if family == libc::AF_INET6 => {
            // SAFETY: as above.
            let found = unsafe { at.cast::<libc::sockaddr_in6>().read() };
            found.sin6_port == to.port().to_be() && found.sin6_addr.s6_addr == to.ip().octets()
        }
        // The port stands at the same place in both.
        Place::Port(port) if family == libc::AF_INET || family == libc::AF_INET6 => {
            // SAFETY: as above.
            let found = unsafe { at.cast::<libc::sockaddr_in>().read() };
            found.sin_port == port.to_be()
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_local_socket_takes_connections_before_anybody_accepts() {
        let path = format!("/tmp/listen-{:x}", super::super::random::bits128() as u64);
        let place = Place::Path(path.clone());
        let (fd, refused) = socket(Kind::Stream, &place, &[(Tune::PassCredentials, 1)]).unwrap();
        assert!(refused.is_empty());
        assert!(UnixStream::connect(&path).is_err(), "bound is not open");
        open(&fd, Kind::Stream, 4).unwrap();
        give(Path::new(&path), 0o640, Some((0, 0))).unwrap_or_default();
        UnixStream::connect(&path).unwrap().write_all(b"x").unwrap();
        assert!(matches(&fd, Kind::Stream, &place));
        assert!(!matches(&fd, Kind::Datagram, &place));
        assert!(!matches(
            &fd,
            Kind::Stream,
            &Place::Path("/tmp/other".into())
        ));
        // Left over and made anew.
        drop(fd);
        socket(Kind::Stream, &place, &[]).unwrap();
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "no socket").unwrap();
        assert!(socket(Kind::Stream, &place, &[]).is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "no socket");
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn names_without_a_file_and_internet_addresses() {
        let name = format!("listen-{:x}", super::super::random::bits128() as u64);
        let place = Place::Abstract(name);
        let (fd, _) = socket(Kind::Packets, &place, &[]).unwrap();
        open(&fd, Kind::Packets, 1).unwrap();
        assert!(matches(&fd, Kind::Packets, &place));
        let place = Place::Internet("127.0.0.1:0".parse().unwrap());
        let (fd, refused) = socket(
            Kind::Stream,
            &place,
            &[
                (Tune::ReusePort, 1),
                (Tune::KeepAlive, 1),
                (Tune::NoDelay, 1),
            ],
        )
        .unwrap();
        assert!(refused.is_empty());
        open(&fd, Kind::Stream, 16).unwrap();
        assert!(
            !matches(&fd, Kind::Stream, &place),
            "the kernel has chosen a port"
        );
        let (fd, _) = socket(Kind::Datagram, &Place::Port(0), &[]).unwrap();
        assert!(!matches(&fd, Kind::Datagram, &Place::Port(0)));
    }

    #[test]
    fn a_fifo_outlives_its_writers() {
        let path = format!("/tmp/fifo-{:x}", super::super::random::bits128() as u64);
        let fd = fifo(Path::new(&path)).unwrap();
        std::fs::OpenOptions::new()
            .write(true)
            .open(&path)
            .unwrap()
            .write_all(b"x")
            .unwrap();
        let mut byte = [0; 4];
        assert_eq!(super::super::fd::read(&fd, &mut byte).unwrap(), 1);
        drop(fd);
        fifo(Path::new(&path)).unwrap();
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "").unwrap();
        assert!(fifo(Path::new(&path)).is_err());
        std::fs::remove_file(&path).unwrap();
    }
}
