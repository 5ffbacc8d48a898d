//! Sizes in bytes, to base 1024: `64K`, `1.5G`, `infinity`, `25%`.

use super::ValueError;

const EXPECTED: &str = "a size in bytes, as 512K, 1.5G or infinity";

/// A size, absolute or as a part of what there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// Bytes (or whatever is counted).
    Bytes(u64),
    /// Hundredths of a percent, 0..=10000.
    Permyriad(u32),
    /// No limit.
    Infinity,
}

/// Bytes, with an optional suffix `B K M G T P E`; several add up if each is smaller than the one
/// before: `1G 512M`.
pub fn bytes(text: &str) -> Result<u64, ValueError> {
    scaled(text, 1024)
}

/// As [`bytes`], to base 1000 (bandwidths).
pub fn bytes_si(text: &str) -> Result<u64, ValueError> {
    scaled(text, 1000)
}

fn scaled(text: &str, base: u64) -> Result<u64, ValueError> {
    let wrong = || ValueError::new(text, EXPECTED);
    let mut rest = text.trim();
    let mut total = 0u64;
    let mut last = 8;
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let end = rest
            .bytes()
            .take_while(|b| b.is_ascii_digit() || *b == b'.')
            .count();
        let (number, after) = rest.split_at_checked(end).ok_or_else(wrong)?;
        let after = after.trim_start();
        let letter = after.bytes().next().filter(u8::is_ascii_alphabetic);
        let power = match letter {
            None => 0,
            Some(b'B') => 0,
            Some(letter) => {
                1 + b"KMGTPE"
                    .iter()
                    .position(|l| *l == letter)
                    .ok_or_else(wrong)?
            }
        };
        if power >= last {
            return Err(wrong());
        }
        last = power;
        rest = after
            .get(usize::from(letter.is_some())..)
            .unwrap_or("")
            .trim_start();
        let unit = base.pow(power as u32);
        let part = fractional(number, unit).ok_or_else(wrong)?;
        total = total.checked_add(part).ok_or_else(wrong)?;
    }
    Ok(total)
}

/// `number` times `unit`, where the number may have a fraction.
fn fractional(number: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole: u64 = whole.parse().ok()?;
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let (mut part, mut scale) = (0u128, 1u128);
    for digit in fraction.bytes().take(18) {
        part = part * 10 + u128::from(digit - b'0');
        scale *= 10;
    }
    let part = u64::try_from(part * u128::from(unit) / scale).ok()?;
    whole.checked_mul(unit)?.checked_add(part)
}

/// A percentage from 0 to 100 with up to two decimals, in hundredths of a percent.
pub fn percent(text: &str) -> Result<u32, ValueError> {
    let wrong = || ValueError::new(text, "a percentage from 0% to 100%");
    let number = text.trim().strip_suffix('%').ok_or_else(wrong)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let decimals = fraction.len();
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if !(1..=2).contains(&decimals) || !digits(whole) || !digits(fraction) {
        return Err(wrong());
    }
    let whole: u32 = whole.parse().map_err(|_| wrong())?;
    let fraction: u32 = fraction.parse().map_err(|_| wrong())?;
    let value = whole.checked_mul(100).ok_or_else(wrong)?;
    let value = value
        + if decimals == 1 {
            fraction * 10
        } else {
            fraction
        };
    if value <= 10_000 {
        Ok(value)
    } else {
        Err(wrong())
    }
}

/// Bytes, a percentage, or `infinity`.
pub fn size(text: &str) -> Result<Size, ValueError> {
    let text = text.trim();
    if text == "infinity" {
        Ok(Size::Infinity)
    } else if text.ends_with('%') {
        percent(text).map(Size::Permyriad)
    } else {
        bytes(text).map(Size::Bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(bytes("0"), Ok(0));
        assert_eq!(bytes("64K"), Ok(65_536));
        assert_eq!(bytes("1.5G"), Ok(1_610_612_736));
        assert_eq!(bytes("1G 512M"), Ok((1 << 30) + (512 << 20)));
        assert_eq!(bytes("3B"), Ok(3));
        assert_eq!(bytes("15E"), Ok(15 << 60));
        assert_eq!(bytes_si("5M"), Ok(5_000_000));
        assert_eq!(size("infinity"), Ok(Size::Infinity));
        assert_eq!(size("12.5%"), Ok(Size::Permyriad(1250)));
        assert_eq!(size("100%"), Ok(Size::Permyriad(10_000)));
        for bad in [
            "", "-1", "16E", "1Z", "1KK", "1K 1K", "K", "1.x", "101%", "%", "1.234%", "1 2",
        ] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }
}
