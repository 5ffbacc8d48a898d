//! A file system that answers just enough to be mounted and opened.

use std::io::{Error, Read, Write};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub struct Server {
    device: std::fs::File,
    silent: Arc<AtomicBool>,
    over: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Server {
    pub fn start() -> Result<Server, Error> {
        let device = std::fs::File::options()
            .read(true)
            .write(true)
            .open("/dev/fuse")?;
        let (silent, over) = Default::default();
        Ok(Server {
            device,
            silent,
            over,
            thread: None,
        })
    }

    pub fn answer_nothing(&self) {
        self.silent.store(true, Ordering::SeqCst);
    }

    /// Sends the device along with a command, and begins to serve.
    pub fn hand_over(&mut self, command: &str, to: &std::path::Path) {
        let sender = std::os::unix::net::UnixDatagram::unbound().unwrap();
        sender.connect(to).unwrap();
        let mut control = [0u64; 4];
        let mut part = libc::iovec {
            iov_base: command.as_ptr() as *mut _,
            iov_len: command.len(),
        };
        // SAFETY: a message over live locals, with room for the one descriptor.
        unsafe {
            let mut message: libc::msghdr = std::mem::zeroed();
            message.msg_iov = &raw mut part;
            message.msg_iovlen = 1;
            message.msg_control = control.as_mut_ptr().cast();
            message.msg_controllen = libc::CMSG_SPACE(4) as _;
            let header = libc::CMSG_FIRSTHDR(&raw const message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(4) as _;
            *libc::CMSG_DATA(header).cast::<i32>() = self.device.as_raw_fd();
            assert!(libc::sendmsg(sender.as_raw_fd(), &raw const message, 0) > 0);
        }
        let device = self.device.try_clone().unwrap();
        let (silent, over) = (self.silent.clone(), self.over.clone());
        self.thread = Some(std::thread::spawn(move || serve(device, &silent, &over)));
    }
}

/// With the last descriptor of the device gone, the kernel gives up what waits.
impl Drop for Server {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

fn serve(mut device: std::fs::File, silent: &AtomicBool, over: &AtomicBool) {
    let mut request = vec![0u8; 256 * 1024];
    loop {
        let mut ready = libc::pollfd {
            fd: device.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one valid entry.
        unsafe { libc::poll(&raw mut ready, 1, 20) };
        if over.load(Ordering::SeqCst) {
            return;
        }
        if ready.revents & libc::POLLIN == 0 {
            // Not mounted yet, or nothing to do.
            std::thread::sleep(std::time::Duration::from_millis(1));
            continue;
        }
        let Ok(n) = device.read(&mut request) else {
            continue;
        };
        let word = |at: usize| u32::from_ne_bytes(request[at..at + 4].try_into().unwrap());
        let (opcode, unique) = (word(4), request[8..16].to_vec());
        if silent.load(Ordering::SeqCst) {
            continue;
        }
        let name = request[40..n].split(|b| *b == 0).next().unwrap_or_default();
        let answer = match opcode {
            1 => {
                let directory = name == b"directory";
                let node: u64 = if directory { 3 } else { 2 };
                let mut entry = node.to_ne_bytes().to_vec();
                entry.resize(40, 0);
                entry.extend(attributes(node, directory));
                entry
            }
            3 => {
                let node = u64::from_ne_bytes(request[16..24].try_into().unwrap());
                let mut out = vec![0; 16];
                out.extend(attributes(node, node != 2));
                out
            }
            14 | 27 => vec![0; 16],
            26 => {
                let mut out = Vec::new();
                for number in [7u32, 31, 0, 0, 0, 4096] {
                    out.extend(number.to_ne_bytes());
                }
                out.resize(64, 0);
                out
            }
            // Flush, and everything else: never.
            _ => continue,
        };
        let mut reply = (16 + answer.len() as u32).to_ne_bytes().to_vec();
        reply.extend(0i32.to_ne_bytes());
        reply.extend(unique);
        reply.extend(answer);
        let _ = device.write(&reply);
    }
}

fn attributes(node: u64, directory: bool) -> Vec<u8> {
    let mut out = node.to_ne_bytes().to_vec();
    out.resize(60, 0);
    let mode = if directory {
        libc::S_IFDIR | 0o755
    } else {
        libc::S_IFREG | 0o644
    };
    for number in [mode, 1, 0, 0, 0, 4096, 0] {
        out.extend(u32::to_ne_bytes(number));
    }
    out
}
