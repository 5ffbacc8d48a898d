//! `[Socket]`: from the entries of the unit's files to what is listened on.
//!
//! What is said of bad values and unknown names is [`units::section`]'s.

use crate::listener::{Listener, fits};
use platform::listen::{Kind, Place, Tune};
use units::name::UnitName;
use units::section::{self, Refusal, Taken, put};
use units::state::Micros;
use units::value::{self, ValueError, size, time};
use units::wire::helper::{Finding, Implied, UnitSource};

/// `BindIPv6Only=`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ipv6 {
    /// As the kernel is set.
    #[default]
    Default,
    /// IPv4 as well.
    Both,
    /// IPv6 alone.
    Only,
}

/// A socket unit as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// What to listen on, in the order of the file.
    pub listeners: Vec<Listener>,
    /// What it triggers and who gets the descriptors.
    pub to: String,
    /// `FileDescriptorName=`.
    pub name: String,
    /// `SocketUser=`, `SocketGroup=`; empty for ours.
    pub user: String,
    /// See `user`.
    pub group: String,
    /// `SocketMode=`.
    pub mode: u32,
    /// `DirectoryMode=`.
    pub directory_mode: u32,
    /// `Backlog=`.
    pub backlog: u32,
    /// `RemoveOnStop=`.
    pub remove: bool,
    /// `Symlinks=`.
    pub links: Vec<String>,
    /// `BindIPv6Only=`.
    pub ipv6: Ipv6,
    /// Switches and numbers of the kernel.
    pub options: Vec<(Tune, i32)>,
    /// `TriggerLimitIntervalSec=` and `TriggerLimitBurst=`; either 0: no limit.
    pub limit: (Micros, u32),
}

impl Config {
    fn new(unit: &UnitName) -> Self {
        Self {
            listeners: Vec::new(),
            to: unit
                .with_type("service")
                .map_or_else(|_| String::new(), String::from),
            name: unit.as_str().into(),
            user: String::new(),
            group: String::new(),
            mode: 0o666,
            directory_mode: 0o755,
            backlog: 4096,
            remove: false,
            links: Vec::new(),
            ipv6: Ipv6::Default,
            options: Vec::new(),
            // systemd.socket(5), for Accept=no.
            limit: (2_000_000, 20),
        }
    }

    /// The options that have a meaning at this place.
    pub fn options_for(&self, place: &Place) -> Vec<(Tune, i32)> {
        let own = self.options.iter().copied();
        let ipv6 = match self.ipv6 {
            Ipv6::Default => None,
            Ipv6::Both => Some((Tune::OnlyIpv6, 0)),
            Ipv6::Only => Some((Tune::OnlyIpv6, 1)),
        };
        own.chain(ipv6)
            .filter(|(option, _)| fits(*option, place))
            .collect()
    }

    /// Paths and links that a stop removes.
    pub fn removed(&self) -> Vec<String> {
        if !self.remove {
            return Vec::new();
        }
        let paths = self.listeners.iter().filter_map(Listener::path);
        paths
            .map(String::from)
            .chain(self.links.iter().cloned())
            .collect()
    }

    /// For people: where it listens.
    pub fn places(&self) -> String {
        let places: Vec<String> = self.listeners.iter().map(Listener::describe).collect();
        places.join(", ")
    }

    fn set(&mut self, option: Tune, value: i32) {
        self.options.retain(|(other, _)| *other != option);
        self.options.push((option, value));
    }
}

/// What reading a unit gave.
pub struct Reading {
    /// The socket; with errors among the findings it must not be started.
    pub config: Config,
    /// What is to be said about the files.
    pub findings: Vec<Finding>,
    /// Dependencies that follow.
    pub implied: Vec<Implied>,
}

/// Reads a unit; `None` if its name is none. What is wrong is among the findings.
pub fn read(source: &UnitSource, strict: bool) -> Option<Reading> {
    let unit = UnitName::new(&source.unit).ok()?;
    let mut config = Config::new(&unit);
    let mut findings = Vec::new();
    let mut take = |key: &str, text: &str| take(&mut config, &unit, key, text);
    section::read_resolved(source, &unit, "Socket", strict, &mut findings, &mut take);
    let paths: Vec<&str> = config.listeners.iter().filter_map(Listener::path).collect();
    if config.listeners.is_empty() {
        let text = "it listens on nothing: add ListenStream=, ListenDatagram= or their kin";
        findings.push(Finding::of_unit(text));
    }
    if !config.links.is_empty() && paths.len() != 1 {
        let text = "Symlinks= needs one listener with a path, and no more";
        findings.push(Finding::of_unit(text));
    }
    let implied = paths.iter().map(|path| Implied {
        key: "RequiresMountsFor".into(),
        value: (*path).into(),
    });
    let implied = implied.collect();
    Some(Reading {
        config,
        findings,
        implied,
    })
}

/// What a directive does with its value; `None` if it is not carried out.
fn take(config: &mut Config, unit: &UnitName, key: &str, text: &str) -> Option<Taken> {
    if let Some(option) = option_of(key) {
        return Some(number(key, text).map(|value| config.set(option, value)));
    }
    Some(match key {
        "ListenStream" => listen(config, Kind::Stream, text),
        "ListenDatagram" => listen(config, Kind::Datagram, text),
        "ListenSequentialPacket" => listen(config, Kind::Packets, text),
        "ListenFIFO" if text.is_empty() => listen(config, Kind::Stream, ""),
        "ListenFIFO" => put(value::absolute_path(text), |path| {
            config.listeners.push(Listener::Fifo(path));
        }),
        "Accept" => match value::boolean(text) {
            // An instance for each connection would get the listener in its place.
            Ok(true) => Err(Refusal::Bad(
                "an instance for each connection is not carried out yet; use Accept=no".into(),
            )),
            other => put(other, |_| ()),
        },
        "Service" => {
            if !text.is_empty() {
                config.to = text.into();
            }
            Ok(())
        }
        "FileDescriptorName" => name(config, unit, text),
        "SocketUser" => put(Ok(text), |text| config.user = text.into()),
        "SocketGroup" => put(Ok(text), |text| config.group = text.into()),
        "SocketMode" => put(value::mode(text), |mode| config.mode = mode),
        "DirectoryMode" => put(value::mode(text), |mode| config.directory_mode = mode),
        "Backlog" => put(value::unsigned32(text), |length| config.backlog = length),
        "RemoveOnStop" => put(value::boolean(text), |on| config.remove = on),
        "Symlinks" => links(config, text),
        "BindIPv6Only" => ipv6(config, text),
        "TriggerLimitIntervalSec" => put(time::span(text), |span| config.limit.0 = span),
        "TriggerLimitBurst" => put(value::unsigned32(text), |burst| config.limit.1 = burst),
        _ => return None,
    })
}

/// An empty value forgets every listener, of whatever sort, as in systemd.
fn listen(config: &mut Config, kind: Kind, text: &str) -> Taken {
    if text.is_empty() {
        config.listeners.clear();
        return Ok(());
    }
    if config.listeners.len() >= usize::from(u8::MAX) {
        return Err(Refusal::Bad("a unit has at most 255 listeners".into()));
    }
    if text.starts_with("vsock") {
        return Err(Refusal::Bad(
            "vsock addresses are not carried out yet".into(),
        ));
    }
    put(Listener::socket(kind, text), |listener| {
        config.listeners.push(listener);
    })
}

fn name(config: &mut Config, unit: &UnitName, text: &str) -> Taken {
    let fits = |c: char| c.is_ascii_graphic() && c != ':' || c == ' ';
    if text.is_empty() {
        config.name = unit.as_str().into();
    } else if text.len() <= 255 && text.chars().all(fits) {
        config.name = text.into();
    } else {
        const EXPECTED: &str = "at most 255 printable characters without a colon";
        return Err(ValueError::new(text, EXPECTED).into());
    }
    Ok(())
}

fn links(config: &mut Config, text: &str) -> Taken {
    if text.is_empty() {
        config.links.clear();
    }
    for word in value::split_words(text)? {
        config.links.push(value::absolute_path(&word)?);
    }
    Ok(())
}

fn ipv6(config: &mut Config, text: &str) -> Taken {
    config.ipv6 = match text {
        "default" => Ipv6::Default,
        "both" => Ipv6::Both,
        "ipv6-only" => Ipv6::Only,
        // A boolean asks whether it is IPv6 only: real packages say so.
        _ => match value::boolean(text) {
            Ok(true) => Ipv6::Only,
            Ok(false) => Ipv6::Both,
            Err(_) => return Err(ValueError::new(text, "default, both or ipv6-only").into()),
        },
    };
    Ok(())
}

/// The kernel's option behind a directive that is a switch or a number.
fn option_of(key: &str) -> Option<Tune> {
    Some(match key {
        "Broadcast" => Tune::Broadcast,
        "DeferAcceptSec" => Tune::DeferAccept,
        "FreeBind" => Tune::FreeBind,
        "IPTTL" => Tune::Ttl,
        "KeepAlive" => Tune::KeepAlive,
        "KeepAliveIntervalSec" => Tune::KeepAliveInterval,
        "KeepAliveProbes" => Tune::KeepAliveProbes,
        "KeepAliveTimeSec" => Tune::KeepAliveTime,
        "Mark" => Tune::Mark,
        "NoDelay" => Tune::NoDelay,
        "PassCredentials" => Tune::PassCredentials,
        "PassSecurity" => Tune::PassSecurity,
        "Priority" => Tune::Priority,
        "ReceiveBuffer" => Tune::ReceiveBuffer,
        "ReusePort" => Tune::ReusePort,
        "SendBuffer" => Tune::SendBuffer,
        "Transparent" => Tune::Transparent,
        _ => return None,
    })
}

/// The value of such a directive, as the kernel wants it.
fn number(key: &str, text: &str) -> Result<i32, Refusal> {
    let value = match key {
        "ReceiveBuffer" | "SendBuffer" => size::bytes(text)?,
        "IPTTL" | "KeepAliveProbes" | "Mark" | "Priority" => value::unsigned(text)?,
        _ if key.ends_with("Sec") => time::span(text)?.div_ceil(1_000_000),
        _ => u64::from(value::boolean(text)?),
    };
    i32::try_from(value).map_err(|_| ValueError::new(text, "a number below 2147483648").into())
}
