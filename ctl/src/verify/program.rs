//! Whether the programs a service would run are there and executable, below any root.

use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};
use unit_files::loader::Loaded;
use unit_service::config::Config;

/// Where a program without a slash in its name is looked for.
const SEARCHED: [&str; 6] = [
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
];

/// Most links followed on one way.
const MAX_LINKS: u32 = 40;

/// What is missing, one sentence for each program. A command whose failure does not matter (`-`)
/// may miss its program, and a service with a root of its own has its programs there.
pub fn missing(root: &Path, unit: &Loaded, config: &Config) -> Vec<String> {
    let own_root = unit
        .entries
        .iter()
        .any(|e| matches!(&*e.key, "RootDirectory" | "RootImage") && !e.value.is_empty());
    if own_root {
        return Vec::new();
    }
    let commands = config.commands.iter().flat_map(|list| list.iter());
    let mut texts = Vec::new();
    for command in commands.filter(|command| !command.ignore_failure) {
        let why = if command.path.starts_with('/') {
            look_at(root, Path::new(&command.path)).err()
        } else {
            let found = |dir: &str| look_at(root, &Path::new(dir).join(&command.path)).is_ok();
            (!SEARCHED.iter().any(|dir| found(dir)))
                .then_some("is in none of the usual directories")
        };
        if let Some(why) = why {
            texts.push(format!("its program {} {why}", command.path));
        }
    }
    texts
}

/// Whether a file below a root is a program.
fn look_at(root: &Path, path: &Path) -> Result<(), &'static str> {
    let meta = follow(root, path).and_then(|real| std::fs::metadata(real).ok());
    match meta {
        None => Err("does not exist"),
        Some(meta) if meta.is_dir() => Err("is a directory"),
        Some(meta) if meta.permissions().mode() & 0o111 == 0 => Err("is not executable"),
        Some(_) => Ok(()),
    }
}

/// Where a path leads if the root is what its links take for one.
fn follow(root: &Path, path: &Path) -> Option<PathBuf> {
    let mut left: Vec<PathBuf> = vec![path.to_owned()];
    let mut at = PathBuf::new();
    let mut links = 0;
    while let Some(next) = left.pop() {
        let mut parts = next.components();
        let Some(part) = parts.next() else { continue };
        left.push(parts.as_path().to_owned());
        match part {
            Component::RootDir => at.clear(),
            Component::ParentDir => drop(at.pop()),
            Component::Normal(name) => {
                let full = root.join(&at).join(name);
                match std::fs::read_link(&full) {
                    Ok(_) if links == MAX_LINKS => return None,
                    Ok(target) => {
                        links += 1;
                        left.push(target);
                    }
                    Err(_) => at.push(name),
                }
            }
            _ => {}
        }
    }
    Some(root.join(at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_are_followed_below_the_root() {
        let root = std::env::temp_dir().join(format!("verify-program-{}", std::process::id()));
        std::fs::create_dir_all(root.join("usr/bin")).unwrap();
        std::fs::write(root.join("usr/bin/x"), "").unwrap();
        symlink("/usr/bin", root.join("bin")).unwrap();
        symlink("../usr/./bin/x", root.join("usr/y")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        let to = |path: &str| follow(&root, Path::new(path));
        assert_eq!(to("/bin/x"), Some(root.join("usr/bin/x")));
        assert_eq!(to("/usr/y"), Some(root.join("usr/bin/x")));
        assert_eq!(to("/../../usr/bin/x"), Some(root.join("usr/bin/x")));
        assert_eq!(to("/loop"), None);
        assert_eq!(
            look_at(&root, Path::new("/bin/x")),
            Err("is not executable")
        );
        assert_eq!(look_at(&root, Path::new("/bin")), Err("is a directory"));
        assert_eq!(
            look_at(&root, Path::new("/bin/none")),
            Err("does not exist")
        );
        std::fs::remove_dir_all(root).unwrap();
    }
}
