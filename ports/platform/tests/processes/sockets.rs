//! Sockets and descriptors: what packets carry, what a listener keeps, who sent a datagram.

use super::*;

pub fn packets_carry_descriptors() {
    let (left, right) = socket::pair().unwrap();
    let mut buffer = [0; 64];
    assert!(socket::receive(&right, &mut buffer).unwrap().is_none());
    let (reader, writer) = fd::pipe().unwrap();
    let many: Vec<_> = (0..socket::MAX_FDS).map(|_| writer.as_fd()).collect();
    socket::send(&left, b"many", &many).unwrap();
    socket::send(&left, b"none", &[]).unwrap();
    let got = socket::receive(&right, &mut buffer).unwrap().unwrap();
    assert_eq!(
        (&buffer[..got.length], got.fds.len()),
        (b"many".as_slice(), socket::MAX_FDS)
    );
    assert!(!got.truncated && !got.fds_lost && got.sender.is_none());
    fd::write(&got.fds[7], b"through").unwrap();
    assert_eq!(fd::read(&reader, &mut buffer).unwrap(), 7);
    let got = socket::receive(&right, &mut buffer).unwrap().unwrap();
    assert_eq!(
        (&buffer[..got.length], got.fds.len()),
        (b"none".as_slice(), 0)
    );
    let beyond = vec![writer.as_fd(); socket::MAX_FDS + 1];
    assert!(socket::send(&left, b"x", &beyond).is_err());
    socket::send(&left, &[1; 100], &[]).unwrap();
    let got = socket::receive(&right, &mut buffer).unwrap().unwrap();
    assert!(got.truncated && got.length == 64);
    // A peer that does not read blocks nobody.
    let full = loop {
        if let Err(error) = socket::send(&left, &[0; 1024], &[]) {
            break error;
        }
    };
    assert_eq!(full.kind(), ErrorKind::WouldBlock);
    drop(left);
    while socket::receive(&right, &mut buffer)
        .unwrap()
        .unwrap()
        .length
        > 0
    {}
    let gone = socket::send(&right, b"x", &[]).unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::BrokenPipe);
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

pub fn descriptors_are_closed_with_the_packet() {
    let (left, right) = socket::pair().unwrap();
    let (_reader, writer) = fd::pipe().unwrap();
    let before = open_descriptors();
    for _ in 0..10 {
        socket::send(&left, b"not understood", &[writer.as_fd(); 5]).unwrap();
        drop(socket::receive(&right, &mut [0; 4]).unwrap());
    }
    assert_eq!(open_descriptors(), before);
    // With no room for more descriptors the packet comes without them, and says so.
    socket::send(&left, b"x", &[writer.as_fd(); 5]).unwrap();
    let room = writer.as_raw_fd() as u64 + 3;
    child::set_limit(child::Resource::Files, room, room).unwrap();
    let got = socket::receive(&right, &mut [0; 4]).unwrap().unwrap();
    assert!(got.fds_lost && got.fds.len() < 5);
}

pub fn listeners_keep_connections() {
    let base = temp("listen");
    let path = base.join("socket");
    let listener = socket::listen(&path, 0o600, 2).unwrap();
    use std::os::unix::fs::MetadataExt;
    assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    assert!(socket::accept(&listener).unwrap().is_none());
    // Nobody accepts: the connection stands, and what is sent waits.
    let client = socket::connect(&path).unwrap();
    socket::send(&client, b"hello", &[]).unwrap();
    let kept = listener.try_clone().unwrap();
    drop(listener);
    socket::adopt_listener(&kept).unwrap();
    assert!(socket::adopt_listener(&client).is_err());
    let served = socket::accept(&kept).unwrap().unwrap();
    let peer = socket::peer(&served).unwrap();
    assert_eq!(peer.pid, process::own_pid());
    if let Some(held) = socket::peer_held(&served) {
        let asked = process::Held::from(held).kill(0);
        assert!(asked.is_ok() || asked.unwrap_err().raw_os_error() == Some(libc::ENOSYS));
    }
    let mut buffer = [0; 16];
    assert_eq!(
        socket::receive(&served, &mut buffer)
            .unwrap()
            .unwrap()
            .length,
        5
    );
    // A full backlog is an answer, not a wait.
    let mut waiting = Vec::new();
    let full = loop {
        match socket::connect(&path) {
            Ok(fd) => waiting.push(fd),
            Err(error) => break error,
        }
    };
    assert_eq!(full.kind(), ErrorKind::WouldBlock);
    drop(kept);
    assert_eq!(
        socket::connect(&path).unwrap_err().kind(),
        ErrorKind::ConnectionRefused
    );
    assert!(socket::connect(&base.join("x".repeat(200))).is_err());
    let again = socket::listen(&path, 0o666, 2).unwrap();
    drop(again);
    std::fs::remove_dir_all(base).unwrap();
}

pub fn datagrams_tell_the_sender() {
    let base = temp("datagram");
    let path = base.join("notify");
    let receiver = socket::datagram(&path, 0o666).unwrap();
    let mut poller = Poller::new(&[]).unwrap();
    let sender = {
        let path = path.clone();
        process::spawn(None, move |_| {
            let socket = std::os::unix::net::UnixDatagram::unbound().unwrap();
            socket.send_to(b"READY=1", &path).unwrap();
            0
        })
        .unwrap()
        .pid
    };
    next_exit(&mut poller);
    let mut buffer = [0; 64];
    let got = socket::receive(&receiver, &mut buffer).unwrap().unwrap();
    assert_eq!(&buffer[..got.length], b"READY=1");
    assert_eq!(got.sender.unwrap().pid, sender);
    std::fs::remove_dir_all(base).unwrap();
}
