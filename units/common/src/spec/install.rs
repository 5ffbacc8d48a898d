//! `[Install]`: what enabling a unit does. Read by `enable` and its kin only, never at boot.

use crate::file::UnitFile;
use crate::name::UnitName;
use crate::value::specifier::{Facts, expand};
use crate::value::words::Words;
use crate::wire::helper::{Finding, Severity};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// The contents of `[Install]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Install {
    /// `Alias=`: other names it gets when enabled.
    pub alias: Vec<String>,
    /// `WantedBy=`: units in whose `.wants/` it is linked.
    pub wanted_by: Vec<String>,
    /// `RequiredBy=`: the same with `.requires/`.
    pub required_by: Vec<String>,
    /// `UpheldBy=`: the same with `.upholds/`.
    pub upheld_by: Vec<String>,
    /// `Also=`: units that are enabled and disabled with it.
    pub also: Vec<String>,
    /// `DefaultInstance=`: the instance a template is enabled as.
    pub default_instance: Option<String>,
}

impl Install {
    /// Whether it says where to link the unit.
    pub fn is_empty(&self) -> bool {
        self.alias.is_empty()
            && self.wanted_by.is_empty()
            && self.required_by.is_empty()
            && self.upheld_by.is_empty()
    }

    /// Reads the section of a unit. What is wrong is added to the findings and left out.
    pub fn read(
        unit: &UnitName,
        file: &UnitFile,
        facts: &dyn Facts,
        findings: &mut Vec<Finding>,
    ) -> Self {
        let mut install = Self::default();
        for entry in file.section("Install") {
            let list = match entry.key {
                "Alias" => &mut install.alias,
                "WantedBy" => &mut install.wanted_by,
                "RequiredBy" => &mut install.required_by,
                "UpheldBy" => &mut install.upheld_by,
                "Also" => &mut install.also,
                "DefaultInstance" => {
                    match expand(entry.value, unit, facts) {
                        Ok(instance) if instance.is_empty() => install.default_instance = None,
                        Ok(instance) => install.default_instance = Some(instance.into_owned()),
                        Err(e) => findings.push(entry.finding(Severity::Error, e.to_string())),
                    }
                    continue;
                }
                key if key.starts_with("X-") => continue,
                key => {
                    let text = format!("unknown directive “{key}=” in [Install]; ignored");
                    findings.push(entry.finding(Severity::Warning, text));
                    continue;
                }
            };
            if entry.value.is_empty() {
                list.clear();
            }
            for word in Words::plain(entry.value) {
                match word.and_then(|w| expand(&w, unit, facts).map(|w| w.into_owned())) {
                    Ok(word) => list.push(word),
                    Err(e) => {
                        let text = format!("{}=: {e}", entry.key);
                        findings.push(entry.finding(Severity::Error, text));
                    }
                }
            }
        }
        install
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::specifier::SystemFacts;

    #[test]
    fn all_of_it() {
        let text = b"[Install]\nAlias=b.service c.service\nWantedBy=x.target\nWantedBy=\n\
            WantedBy=multi-user.target\nRequiredBy=r@%i.target\nUpheldBy=u.target\nAlso=o.socket\n\
            DefaultInstance=tty1\nX-Foo=1\nFoo=1\nAlias=%F.service\n";
        let mut file = UnitFile::new();
        let mut findings = Vec::new();
        assert!(file.add(0, text, &mut findings));
        let unit = UnitName::new("a@z.service").unwrap();
        let install = Install::read(&unit, &file, &SystemFacts, &mut findings);
        assert_eq!(install.alias, ["b.service", "c.service"]);
        assert_eq!(install.wanted_by, ["multi-user.target"]);
        assert_eq!(install.required_by, ["r@z.target"]);
        assert_eq!(install.upheld_by, ["u.target"]);
        assert_eq!(install.also, ["o.socket"]);
        assert_eq!(install.default_instance.as_deref(), Some("tty1"));
        let lines: Vec<u32> = findings.iter().map(|f| f.line).collect();
        assert_eq!(lines, [11, 12]);
    }
}
