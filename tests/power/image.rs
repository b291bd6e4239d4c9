//! From recorded changes of files to what a disk may hold after a power loss at some moment.
//!
//! Of a file, what was synced is there; of later writes each may be there, be missing, or be torn at a sector. Names
//! (created, renamed, removed) are there up to the last sync of a folder at least, and then up to some later one.

use super::store::Dice;
use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

const SECTOR: u64 = 512;

#[derive(Clone, Debug)]
pub(crate) enum Op {
    Write { path: String, at: u64, data: Vec<u8> },
    Truncate { path: String, size: u64 },
    Sync { path: String },
    Rename { from: String, to: String },
    Create { path: String },
    Folder { path: String },
    Unlink { path: String },
}

/// Reads the recorder's log.
pub(crate) fn read(log: &Path) -> Vec<Op> {
    let bytes = fs::read(log).unwrap();
    let mut rest = &bytes[..];
    let mut ops = Vec::new();
    while rest.len() >= 32 {
        let word = |i: usize| u64::from_ne_bytes(rest[i * 8..i * 8 + 8].try_into().unwrap());
        let (op, path_len, at, len) = (word(0), word(1) as usize, word(2), word(3) as usize);
        if rest.len() < 32 + path_len + len {
            break;
        }
        let path = String::from_utf8(rest[32..32 + path_len].to_vec()).unwrap();
        let data = rest[32 + path_len..32 + path_len + len].to_vec();
        rest = &rest[32 + path_len + len..];
        ops.push(match op {
            1 => Op::Write { path, at, data },
            2 => Op::Truncate { path, size: at },
            3 => Op::Sync { path },
            4 => Op::Rename { from: path, to: String::from_utf8(data).unwrap() },
            5 => Op::Create { path },
            6 => Op::Folder { path },
            _ => Op::Unlink { path },
        });
    }
    ops
}

/// What can be under a name.
#[derive(Clone, Copy)]
enum Node {
    File(usize),
    Folder,
}

type Names = HashMap<String, Node>;

#[derive(Default)]
struct File {
    synced: Vec<u8>,
    pending: Vec<(Option<Vec<u8>>, u64)>, // data at a place, or a size
}

/// The disk after the first `moment` changes and a power loss, written under `to` (for `from` in the names).
pub(crate) fn make(ops: &[Op], from: &str, to: &Path, dice: &mut Dice) {
    let mut files: Vec<File> = Vec::new();
    let mut names: Names = HashMap::new();
    let mut changes: Vec<(Op, Option<usize>)> = Vec::new();
    let mut durable = 0;
    for op in ops {
        match op {
            Op::Write { path, at, data } => {
                if let Some(Node::File(n)) = names.get(path) {
                    files[*n].pending.push((Some(data.clone()), *at));
                }
            }
            Op::Truncate { path, size } => {
                if let Some(Node::File(n)) = names.get(path) {
                    files[*n].pending.push((None, *size));
                }
            }
            Op::Sync { path } => match names.get(path) {
                Some(Node::File(n)) => {
                    let file = &mut files[*n];
                    let pending = std::mem::take(&mut file.pending);
                    pending.into_iter().for_each(|(data, at)| apply(&mut file.synced, data.as_deref(), at));
                }
                _ => durable = changes.len(),
            },
            name => {
                let made = matches!(name, Op::Create { .. }).then(|| {
                    files.push(File::default());
                    files.len() - 1
                });
                rename(&mut names, name, made);
                changes.push((name.clone(), made));
            }
        }
    }
    let kept = durable + dice.roll((changes.len() - durable) as u64 + 1) as usize;
    let mut names = Names::new();
    changes[..kept].iter().for_each(|(op, made)| rename(&mut names, op, *made));
    let place = |name: &str| -> PathBuf { to.join(name.strip_prefix(from).unwrap().trim_start_matches('/')) };
    for (name, _) in names.iter().filter(|(_, node)| matches!(node, Node::Folder)) {
        fs::create_dir_all(place(name)).unwrap();
    }
    for (name, node) in &names {
        let Node::File(n) = node else { continue };
        let mut bytes = files[*n].synced.clone();
        let all = dice.roll(4); // 0: none of the later writes, 1: all, else each by itself
        for (data, at) in &files[*n].pending {
            match (all, dice.roll(3), data) {
                (0, ..) | (2.., 0, _) => {}
                (2.., 1, Some(data)) => {
                    let cut = (dice.roll(data.len() as u64 / SECTOR + 1) * SECTOR) as usize;
                    apply(&mut bytes, Some(&data[..cut.min(data.len())]), *at);
                }
                (_, _, data) => apply(&mut bytes, data.as_deref(), *at),
            }
        }
        fs::create_dir_all(place(name).parent().unwrap()).unwrap();
        fs::write(place(name), bytes).unwrap();
    }
}

fn apply(bytes: &mut Vec<u8>, data: Option<&[u8]>, at: u64) {
    let at = at as usize;
    match data {
        None => bytes.resize(at, 0),
        Some(data) => {
            bytes.resize(bytes.len().max(at + data.len()), 0);
            bytes[at..at + data.len()].copy_from_slice(data);
        }
    }
}

fn rename(names: &mut Names, op: &Op, made: Option<usize>) {
    match op {
        Op::Create { path } => drop(names.insert(path.clone(), Node::File(made.unwrap()))),
        Op::Folder { path } => drop(names.insert(path.clone(), Node::Folder)),
        Op::Unlink { path } => drop(names.remove(path)),
        Op::Rename { from, to } => {
            let inside = format!("{from}/");
            let moved: Vec<String> = names.keys().filter(|n| *n == from || n.starts_with(&inside)).cloned().collect();
            for name in moved {
                let node = names.remove(&name).unwrap();
                names.insert(format!("{to}{}", &name[from.len()..]), node);
            }
        }
        _ => {}
    }
}
