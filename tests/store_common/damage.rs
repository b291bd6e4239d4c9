//! A state folder, copied and damaged.

use super::Dice;
use std::{
    fs,
    path::{Path, PathBuf},
};
use termalive::model::KIB;

/// Copies files and folders.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(|e| e.unwrap()) {
        let place = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &place)
        } else {
            assert!(fs::copy(entry.path(), place).is_ok());
        }
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).unwrap().map(|e| e.unwrap()) {
        if entry.file_type().unwrap().is_dir() { all.extend(files(&entry.path())) } else { all.push(entry.path()) }
    }
    all.sort();
    all
}

/// Damages one file, in `databases` of 4 cases a database. What was done, and whether it was one bit.
pub(crate) fn damage(state: &Path, databases: u64, dice: &mut Dice) -> (String, bool) {
    let files: Vec<PathBuf> = files(state).into_iter().filter(|f| fs::metadata(f).unwrap().len() > 0).collect();
    let large: Vec<&PathBuf> = files.iter().filter(|f| f.ends_with("db")).collect();
    let file = if dice.roll(4) < databases {
        large[dice.roll(large.len() as u64) as usize]
    } else {
        &files[dice.roll(files.len() as u64) as usize]
    };
    let mut bytes = fs::read(file).unwrap();
    let at = dice.roll(bytes.len() as u64) as usize;
    let shown = file.strip_prefix(state).unwrap().display().to_string();
    let (what, one_bit) = match dice.roll(4) {
        0 => {
            bytes.truncate(at);
            (format!("{shown}: cut at {at}"), false)
        }
        1 => {
            let end = bytes.len().min(at + 4 * KIB);
            bytes[at..end].fill(0);
            (format!("{shown}: {at} to {end} are zero"), false)
        }
        _ => {
            bytes[at] ^= 1 << dice.roll(8);
            (format!("{shown}: a bit of byte {at}"), true)
        }
    };
    fs::write(file, bytes).unwrap();
    (what, one_bit)
}
