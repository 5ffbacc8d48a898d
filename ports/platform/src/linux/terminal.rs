//! The terminal a person sits at.

use super::sys::check;
use std::os::fd::{AsFd, AsRawFd};

/// How many columns a terminal shows; `None` if it is no terminal or does not know (a serial line
/// says 0).
pub fn columns(terminal: &impl AsFd) -> Option<u16> {
    let mut size = libc::winsize {
        ws_row: 0,
        ws_col: 0,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: the kernel writes a window size, which is what it is given room for.
    check(unsafe {
        libc::ioctl(
            terminal.as_fd().as_raw_fd(),
            libc::TIOCGWINSZ,
            &raw mut size,
        )
    })
    .ok()?;
    (size.ws_col > 0).then_some(size.ws_col)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_no_columns() {
        let file = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(columns(&file), None);
    }
}
