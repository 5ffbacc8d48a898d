//! `is-enabled`: what the links that exist say of a unit.

use super::Installer;
use super::state::State;
use crate::loader::index::{Found, Index, below};
use std::fs;
use std::path::Path;
use units::name::UnitName;

#[derive(Clone, Copy, Default)]
struct Links {
    wanted: bool,
    same_name: bool,
}

impl Installer {
    /// Whether a unit is enabled.
    pub fn state(&self, name: &UnitName) -> State {
        let mut index = self.index();
        let resolved = index.resolve(name);
        let file = match resolved.found {
            Found::Nothing => return State::NotFound,
            Found::Wrong(_) => return State::Bad,
            Found::Masked(path) if path.starts_with("/run/") => return State::MaskedRuntime,
            Found::Masked(_) => return State::Masked,
            Found::File(path) => path,
        };
        if resolved.id != *name {
            return State::Alias;
        }
        if file.contains("/generator") {
            return State::Generated;
        }
        if file.starts_with("/run/") && file.contains("/transient/") {
            return State::Transient;
        }
        if fs::metadata(below(&self.root, &file)).is_ok_and(|meta| meta.len() == 0) {
            return State::Masked;
        }
        self.link_state(&mut index, name, &file)
    }

    fn link_state(&self, index: &mut Index, name: &UnitName, file: &str) -> State {
        let (mut enabled, mut linked) = (None, None);
        for dir in &self.path {
            let found = self.find_links(dir, name);
            let area = if dir.starts_with("/etc") {
                0
            } else if dir.starts_with("/run") {
                1
            } else {
                2
            };
            if found.wanted && enabled.is_none_or(|best| area < best) {
                enabled = Some(area);
            }
            if found.same_name && linked.is_none_or(|best| area < best) {
                linked = Some(area);
            }
        }
        match (enabled, linked) {
            (Some(0), _) => return State::Enabled,
            (Some(1), _) => return State::EnabledRuntime,
            (Some(_), _) if name.instance().is_some() => return State::Static,
            _ => {}
        }
        let outside = !self.path.iter().any(|dir| Path::new(file).starts_with(dir));
        match linked.filter(|_| outside) {
            Some(0) => return State::Linked,
            Some(1) => return State::LinkedRuntime,
            _ => {}
        }
        match self.read_install(index, name, file) {
            Err(_) => State::Bad,
            Ok((install, _)) if !install.is_empty() => State::Disabled,
            Ok((install, _)) if !install.also.is_empty() => State::Indirect,
            Ok(_) => State::Static,
        }
    }

    /// Whether links in this directory lead to a unit: from `.wants` and its like or by another
    /// name, or by its own name.
    fn find_links(&self, dir: &Path, name: &UnitName) -> Links {
        let mut found = Links::default();
        let mut note = |link_name: &str, target: &Path, nested: bool| {
            if target == Path::new("/dev/null") {
                return;
            }
            let leads = target.file_name().is_some_and(|t| *t == *name.as_str());
            let same = link_name == name.as_str();
            // A template is enabled if any of its instances is linked to it.
            let instance = name.is_template()
                && UnitName::new(link_name)
                    .ok()
                    .and_then(|n| n.template())
                    .as_ref()
                    == Some(name);
            if nested {
                found.wanted |= same || leads || instance;
            } else {
                found.wanted |= leads && !same;
                found.same_name |= same;
            }
        };
        self.each_link(dir, &mut |_, link_name, target, nested| {
            note(link_name, target, nested)
        });
        found
    }
}
