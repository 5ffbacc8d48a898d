//! The answers of [`super::Installer`]: states of unit files, and links made or removed.

/// Whether a unit is enabled, in systemctl's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Linked where `[Install]` says, in `/etc`.
    Enabled,
    /// The same in `/run`.
    EnabledRuntime,
    /// Known by a link to its file only.
    Linked,
    /// The same in `/run`.
    LinkedRuntime,
    /// The name is an alias of another unit.
    Alias,
    /// Linked to `/dev/null` in `/etc` (or empty).
    Masked,
    /// The same in `/run`.
    MaskedRuntime,
    /// Without `[Install]`: started when somebody needs it.
    Static,
    /// Its `[Install]` only names others in `Also=`.
    Indirect,
    /// It could be enabled and is not.
    Disabled,
    /// Made by a generator.
    Generated,
    /// Made at run time.
    Transient,
    /// Its file cannot be read.
    Bad,
    /// There is no such unit.
    NotFound,
}

impl State {
    /// systemctl's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::EnabledRuntime => "enabled-runtime",
            Self::Linked => "linked",
            Self::LinkedRuntime => "linked-runtime",
            Self::Alias => "alias",
            Self::Masked => "masked",
            Self::MaskedRuntime => "masked-runtime",
            Self::Static => "static",
            Self::Indirect => "indirect",
            Self::Disabled => "disabled",
            Self::Generated => "generated",
            Self::Transient => "transient",
            Self::Bad => "bad",
            Self::NotFound => "not-found",
        }
    }

    /// Exit code of `is-enabled` for one unit: 0, 1, or 4 where there is none.
    pub fn exit_code(self) -> i32 {
        match self {
            Self::Enabled
            | Self::EnabledRuntime
            | Self::Static
            | Self::Alias
            | Self::Indirect
            | Self::Generated
            | Self::Transient => 0,
            Self::NotFound => 4,
            _ => 1,
        }
    }
}

/// One link made or removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// `link` leads to `target` now.
    Created {
        /// Path below the root.
        link: String,
        /// What it says.
        target: String,
    },
    /// The link is gone.
    Removed {
        /// Path below the root.
        link: String,
    },
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Created { link, target } => write!(f, "Created symlink {link} → {target}."),
            Self::Removed { link } => write!(f, "Removed {link}."),
        }
    }
}

/// What a call did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Links, in the order in which they were made or removed.
    pub changes: Vec<Change>,
    /// What people should know: a unit without `[Install]`, an ignored line.
    pub notes: Vec<String>,
}

impl Outcome {
    /// What another call did comes after.
    pub fn add(&mut self, other: Self) {
        self.changes.extend(other.changes);
        self.notes.extend(other.notes);
    }
}
