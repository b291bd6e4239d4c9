//! A plain table for people: columns aligned, two blanks between, no frame.
//!
//! Pure.

use std::time::Duration;

/// Rows of cells, the first one the head. The last column isn't padded; with `width` it is cut there.
pub(super) fn align(rows: &[Vec<String>], width: Option<usize>) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widest = |column: usize| rows.iter().filter_map(|r| r.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| widest(column).unwrap_or(0)).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        let text = cells.collect::<Vec<_>>().join("  ");
        text.trim_end().chars().take(width.unwrap_or(usize::MAX)).collect()
    };
    rows.iter().map(line).collect()
}

/// How long, in the one unit that says most.
pub(super) fn age(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_under_their_heads() {
        let rows = [vec!["NAME", "STATE", "COMMAND"], vec!["longer-name", "x", "cargo test"], vec!["ä", "", ""]]
            .map(|row| row.into_iter().map(str::to_owned).collect());
        assert_eq!(align(&rows, None), ["NAME         STATE  COMMAND", "longer-name  x      cargo test", "ä"]);
        assert_eq!(align(&rows, Some(25))[1], "longer-name  x      cargo");
        assert!(align(&[], None).is_empty());
    }

    #[test]
    fn ages_are_short() {
        for (seconds, text) in [(0, "0s"), (59, "59s"), (60, "1m"), (7199, "1h"), (172_799, "47h"), (172_800, "2d")] {
            assert_eq!(age(Duration::from_secs(seconds)), text);
        }
    }
}
