//! Sizes in bytes as people write them: `512MiB`, `2GB`, `4096`.
//!
//! Pure.

/// Why a size is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("bad size {0:?}: write 64KiB, 512MiB, 2GiB, 500MB or a number of bytes")]
pub struct BytesError(String);

const UNITS: [(&str, u64); 10] = [
    ("", 1),
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("KB", 1000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];

/// Reads a size. `KiB MiB GiB TiB` are powers of 1024, `KB MB GB TB` of 1000; a blank may stand before the unit.
pub fn parse_bytes(text: &str) -> Result<u64, BytesError> {
    let refuse = || BytesError(text.to_owned());
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim_start_matches(' ');
    let factor = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).ok_or_else(refuse)?.1;
    number.parse::<u64>().ok().and_then(|n| n.checked_mul(factor)).ok_or_else(refuse)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        let table = [
            ("0", 0),
            ("4096", 4096),
            ("1B", 1),
            ("64KiB", 65_536),
            ("512MiB", 536_870_912),
            ("512 MiB", 536_870_912),
            ("2gib", 2_147_483_648),
            ("3kb", 3000),
            ("1TB", 1_000_000_000_000),
        ];
        for (text, bytes) in table {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
        for bad in ["", "MiB", "-1", "+1", "1.5GiB", "1M", "1 M iB", "99999999TiB", "1MiB ", "ten"] {
            let error = parse_bytes(bad).unwrap_err().to_string();
            assert!(error.contains(&format!("{bad:?}")) && error.contains("512MiB"), "{bad}: {error}");
        }
    }
}
