//! One thing to listen on: from the value of `ListenStream=` and its kin to an open descriptor.

use crate::config::Config;
use platform::listen::{self, Kind, Place, Tune};
use platform::{files, users};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use units::value::{self, ValueError};

/// What is listened on, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listener {
    /// `ListenStream=`, `ListenDatagram=`, `ListenSequentialPacket=`.
    Socket(Kind, Place),
    /// `ListenFIFO=`.
    Fifo(String),
}

impl Listener {
    /// The socket that a value describes (systemd.socket(5), `ListenStream=`).
    pub fn socket(kind: Kind, text: &str) -> Result<Self, ValueError> {
        const EXPECTED: &str = "a path, @name, port, IPv4 address:port or [IPv6 address]:port";
        let wrong = || ValueError::new(text, EXPECTED);
        let place = if text.starts_with('/') {
            let path = value::absolute_path(text)?;
            // What fits an address of the kernel, with the zero byte at its end.
            if path.len() > 107 {
                return Err(ValueError::new(text, "a path of at most 107 bytes"));
            }
            Place::Path(path)
        } else if let Some(name) = text.strip_prefix('@') {
            if name.is_empty() || name.len() > 106 {
                return Err(ValueError::new(text, "@ and a name of at most 106 bytes"));
            }
            Place::Abstract(name.into())
        } else if kind == Kind::Packets {
            return Err(ValueError::new(text, "a path or @name"));
        } else if text.bytes().all(|byte| byte.is_ascii_digit()) {
            Place::Port(
                text.parse()
                    .ok()
                    .filter(|port| *port > 0)
                    .ok_or_else(wrong)?,
            )
        } else {
            Place::Internet(internet(text).ok_or_else(wrong)?)
        };
        Ok(Self::Socket(kind, place))
    }

    /// The path in the file system, if it has one.
    pub fn path(&self) -> Option<&str> {
        match self {
            Self::Socket(_, Place::Path(path)) | Self::Fifo(path) => Some(path),
            Self::Socket(..) => None,
        }
    }

    /// For people, as systemd writes it: `/run/x.sock (Stream)`.
    pub fn describe(&self) -> String {
        let (place, kind) = match self {
            Self::Fifo(path) => (path.clone(), "FIFO"),
            Self::Socket(kind, place) => (
                match place {
                    Place::Path(path) => path.clone(),
                    Place::Abstract(name) => ["@", name].concat(),
                    Place::Internet(address) => address.to_string(),
                    Place::Port(port) => format!("[::]:{port}"),
                },
                match kind {
                    Kind::Stream => "Stream",
                    Kind::Datagram => "Datagram",
                    Kind::Packets => "SequentialPacket",
                },
            ),
        };
        [&place, " (", kind, ")"].concat()
    }

    /// Whether a descriptor that init has kept is this listener.
    pub fn is(&self, fd: &impl AsFd) -> bool {
        match self {
            Self::Socket(kind, place) => listen::matches(fd, *kind, place),
            Self::Fifo(path) => {
                let pipe = platform::fd::kind(fd).is_ok_and(|k| k == platform::fd::Kind::Pipe);
                pipe && files::exists(Path::new(path))
            }
        }
    }

    /// Makes it, ready to be connected to. What the kernel did not take of the options is given to
    /// `warn`.
    pub fn open(&self, config: &Config, warn: &mut dyn FnMut(String)) -> io::Result<OwnedFd> {
        if let Some(parent) = self.path().and_then(|path| Path::new(path).parent()) {
            make_directories(parent, config.directory_mode)?;
        }
        let fd = match self {
            Self::Fifo(path) => listen::fifo(Path::new(path))?,
            Self::Socket(kind, place) => {
                let (fd, refused) = listen::socket(*kind, place, &config.options_for(place))?;
                for (option, error) in refused {
                    warn(format!(
                        "{option:?} cannot be set on {}: {error}",
                        self.describe()
                    ));
                }
                fd
            }
        };
        if let Some(path) = self.path() {
            listen::give(Path::new(path), config.mode, owner(config)?)?;
        }
        if let Self::Socket(kind, _) = self {
            listen::open(&fd, *kind, config.backlog)?;
        }
        Ok(fd)
    }
}

fn internet(text: &str) -> Option<SocketAddr> {
    // The kernel knows network interfaces by number; names would have to be looked up.
    let address: SocketAddr = text.parse().ok()?;
    (address.port() > 0).then_some(address)
}

/// Whether a place is an Internet address at all, and one of IPv6.
pub fn family(place: &Place) -> Option<bool> {
    match place {
        Place::Internet(SocketAddr::V4(_)) => Some(false),
        Place::Internet(SocketAddr::V6(_)) | Place::Port(_) => Some(true),
        Place::Path(_) | Place::Abstract(_) => None,
    }
}

/// Whether an option has a meaning at this place: the kernel refuses those of TCP elsewhere.
pub fn fits(option: Tune, place: &Place) -> bool {
    match option {
        Tune::PassCredentials | Tune::PassSecurity => family(place).is_none(),
        Tune::OnlyIpv6 => family(place) == Some(true),
        Tune::Priority | Tune::Mark | Tune::ReceiveBuffer | Tune::SendBuffer => true,
        _ => family(place).is_some(),
    }
}

fn make_directories(path: &Path, mode: u32) -> io::Result<()> {
    if files::exists(path) || path.as_os_str().is_empty() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        make_directories(parent, mode)?;
    }
    files::make_dir(path, mode, None)
}

/// `SocketUser=` and `SocketGroup=`: user and group, the user's own where no group is named.
fn owner(config: &Config) -> io::Result<Option<(u32, u32)>> {
    if config.user.is_empty() && config.group.is_empty() {
        return Ok(None);
    }
    let missing = |what: &str, name: &str| {
        io::Error::other([what, "=", name, ": there is none of that name"].concat())
    };
    let (mut uid, mut gid) = (0, 0);
    if !config.user.is_empty() {
        match users::user(&config.user)? {
            Some(user) => (uid, gid) = (user.uid, user.gid),
            None => {
                uid = config
                    .user
                    .parse()
                    .map_err(|_| missing("SocketUser", &config.user))?
            }
        }
    }
    if !config.group.is_empty() {
        let found = users::group(&config.group)?;
        gid = found.ok_or_else(|| missing("SocketGroup", &config.group))?;
    }
    Ok(Some((uid, gid)))
}
