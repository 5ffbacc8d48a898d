//! Single values, names, settings and the kernel's tables.

use unit_files::config::{CommandLine, Config};
use units::name::{self, UnitName};
use units::value::rlimit::{Resource, limit};
use units::value::{self, environ, exit, signal, size, time};
use units::{glob, mounts};

/// Values of directives: what is printed for people is read as the same, or as what it was rounded to; an
/// environment file gives names that are names; a pattern without magic matches itself alone.
pub fn values(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(span) = time::span(text) {
        let printed = time::format(span);
        let rounded = time::span(&printed).unwrap();
        assert!(
            rounded <= span && time::format(rounded) == printed,
            "{span}: {printed}"
        );
    }
    if let Ok(bytes) = size::bytes(text) {
        assert_eq!(size::bytes(&bytes.to_string()), Ok(bytes));
    }
    if let Ok(number) = signal::signal(text) {
        assert!((1..=64).contains(&number) && signal::signal(&signal::name(number)) == Ok(number));
    }
    if let Ok(number) = exit::status(text) {
        assert!(exit::name(number).is_none_or(|name| exit::status(name) == Ok(number)));
    }
    let mut set = exit::ExitSet::default();
    if set.add(text).is_ok() {
        let again = set;
        assert!(
            set.add(text).is_ok() && set == again,
            "adding twice adds nothing"
        );
    }
    for key in [
        "LimitNOFILE",
        "LimitCPU",
        "LimitNICE",
        "LimitRTTIME",
        "LimitAS",
    ] {
        if let Ok(found) = limit(Resource::from_key(key).unwrap(), text) {
            assert!(found.soft <= found.hard, "{key}={text}: {found:?}");
        }
    }
    if let Ok(path) = value::absolute_path(text) {
        assert_eq!(value::absolute_path(&path).as_ref(), Ok(&path));
        assert!(path.starts_with('/') && !path.split('/').any(|part| part == ".." || part == "."));
    }
    let _ = (
        value::boolean(text),
        value::unsigned(text),
        value::mode(text),
        size::size(text),
        size::percent(text),
    );
    let (variables, complaints) = environ::file(text);
    assert!(
        variables
            .iter()
            .all(|variable| environ::assignment(variable).is_ok()),
        "{variables:?}"
    );
    let lines = 1 + text.lines().count();
    assert!(
        complaints
            .iter()
            .all(|(line, _)| (1..=lines).contains(&(*line as usize)))
    );
    patterns(text);
}

fn patterns(text: &str) {
    let (pattern, against) = text.split_once('\n').unwrap_or((text, ""));
    let matches = glob::matches(pattern, against);
    if !glob::is_pattern(pattern) && !pattern.contains('\\') {
        assert_eq!(matches, pattern == against);
        assert!(glob::matches(pattern, pattern));
    }
    assert!(glob::matches("*", against));
}

/// Unit names: one that is taken is taken again, its parts make it, and escaping is undone by unescaping.
pub fn names(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(name) = UnitName::new(text) {
        assert_eq!(name.as_str(), text);
        assert!(
            name::is_type(name.unit_type())
                && text.len() <= 255
                && !text.contains(['/', '\0', '\n', ' '])
        );
        assert_eq!(format!("{}.{}", name.stem(), name.unit_type()), text);
        if let (Some(template), Some(instance)) =
            (name.template(), name.instance().filter(|i| !i.is_empty()))
        {
            assert!(template.is_template());
            assert_eq!(template.instantiate(instance).unwrap(), name);
        }
        if let Ok(typed) = UnitName::mangle(text) {
            assert!(typed == name || typed.as_str() == format!("{text}.service"));
        }
    } else if let Ok(name) = UnitName::mangle(text) {
        assert_eq!(UnitName::new(name.as_str()).unwrap(), name);
    }
    if !text.contains('\0') {
        assert_eq!(name::unescape(&name::escape(text)).as_deref(), Ok(text));
    }
    if let Ok(plain) = name::unescape(text) {
        assert_eq!(name::unescape(&name::escape(&plain)), Ok(plain));
    }
    if !text.contains('\0')
        && let Ok(escaped) = name::path_escape(text)
    {
        let path = name::path_unescape(&escaped).unwrap();
        assert_eq!(name::path_escape(&path), Ok(escaped));
        assert!(path.starts_with('/'));
    }
}

/// Settings and the kernel's command line: any bytes leave settings one can work with, and what is said of
/// them has its file and line.
pub fn settings(bytes: &[u8]) {
    let mut config = Config::default();
    config.add("system.conf", bytes);
    for finding in &config.findings {
        assert!(
            finding.starts_with("system.conf:") && !finding.contains(char::is_control),
            "{finding:?}"
        );
    }
    assert!(
        config
            .unit_path
            .iter()
            .chain(&config.generator_path)
            .all(|path| path.is_absolute())
    );
    assert!(config.search_path().len() >= 3 && config.log_level <= 7);
    assert!((1_000_000..=3_600_000_000).contains(&config.shutdown_timeout));
    assert!(
        config
            .environment
            .iter()
            .all(|variable| environ::assignment(variable).is_ok())
    );
    let helpers = config.for_helpers("/sys/fs/cgroup");
    let frame = units::wire::encode(&helpers);
    assert!(
        frame.is_ok() || bytes.len() > 1 << 14,
        "settings that no helper can be told of"
    );
    let text = String::from_utf8_lossy(bytes);
    let line = CommandLine::read(&text);
    assert!(line.unit.is_none_or(|unit| !unit.is_empty()));
    let mut watchdog = config.watchdog.clone();
    let _ = watchdog.override_by(&text);
}

/// `/proc/self/mountinfo` and fstab's escapes: what has none is itself, and nothing gets longer.
pub fn mount_table(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for mount in mounts::table(&text) {
        assert!(mount.point.len() <= text.len());
    }
    let plain = mounts::unescape(&text);
    assert!(plain.len() <= text.len());
    assert!(text.contains('\\') || plain == text);
    let _ = mounts::has_option(&text, "ro");
}
