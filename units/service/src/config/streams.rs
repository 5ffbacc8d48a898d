//! `StandardInput=`, `StandardOutput=`, `StandardError=`.

use super::{Draft, Refusal};
use crate::context::{Input, Output};
use units::value::{ValueError, absolute_path};

pub(super) fn input(draft: &Draft<'_>, text: &str) -> Result<Input, Refusal> {
    Ok(match text {
        "" | "null" => Input::Null,
        "tty" | "tty-fail" => Input::Terminal { force: false },
        "tty-force" => Input::Terminal { force: true },
        "data" | "socket" => {
            return Err(Refusal::Unsupported(
                "only null, tty, tty-force and file: are",
            ));
        }
        other => match other.split_once(':') {
            Some(("file", path)) => {
                Input::File(absolute_path(&draft.expand(path)?)?.into_boxed_str())
            }
            Some(("fd", _)) => {
                return Err(Refusal::Unsupported(
                    "descriptors of socket units are not passed yet",
                ));
            }
            _ => {
                let expected = "null, tty, tty-force, tty-fail or file:/path";
                return Err(ValueError::new(text, expected).into());
            }
        },
    })
}

pub(super) fn output(draft: &Draft<'_>, text: &str) -> Result<Output, Refusal> {
    Ok(match text {
        "" | "journal" | "kmsg" | "syslog" => Output::Log,
        "journal+console" | "kmsg+console" | "syslog+console" => Output::Log,
        "inherit" => Output::Inherit,
        "null" => Output::Null,
        "tty" => Output::Terminal,
        "socket" => return Err(Refusal::Unsupported("sockets are not passed yet")),
        other => {
            let (word, path) = other.split_once(':').unwrap_or((other, ""));
            let make = match word {
                "file" => Output::File,
                "append" => Output::Append,
                "truncate" => Output::Truncate,
                "fd" => {
                    let text = "descriptors of socket units are not passed yet";
                    return Err(Refusal::Unsupported(text));
                }
                _ => {
                    let expected = "inherit, null, tty, journal, kmsg, file:/path, append:/path \
                        or truncate:/path";
                    return Err(ValueError::new(text, expected).into());
                }
            };
            make(absolute_path(&draft.expand(path)?)?.into_boxed_str())
        }
    })
}
