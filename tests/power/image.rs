//! From recorded changes of files to what a disk may hold after a power loss at some moment.
//!
//! Of a file, what was synced is there; of later writes each may be there, be missing, or be torn at a sector. The names in a
//! folder (created, renamed, removed) are there up to its last sync at least, and then up to some later change; a folder knows
//! nothing of another one's syncs, and what stands in a folder without a name is not there.

use super::store::Dice;
use std::{collections::BTreeMap, fs, path::Path};

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

/// Reads the recorder's log: the changes, and where in it each one ends.
pub(crate) fn read(log: &Path) -> (Vec<Op>, Vec<u64>) {
    let bytes = fs::read(log).unwrap();
    let mut rest = &bytes[..];
    let (mut ops, mut ends) = (Vec::new(), Vec::new());
    while rest.len() >= 32 {
        let word = |i: usize| u64::from_ne_bytes(rest[i * 8..i * 8 + 8].try_into().unwrap());
        let (op, path_len, at, len) = (word(0), word(1) as usize, word(2), word(3) as usize);
        if rest.len() < 32 + path_len + len {
            break;
        }
        let path = String::from_utf8(rest[32..32 + path_len].to_vec()).unwrap();
        let data = rest[32 + path_len..32 + path_len + len].to_vec();
        rest = &rest[32 + path_len + len..];
        ends.push((bytes.len() - rest.len()) as u64);
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
    (ops, ends)
}

/// What can be under a name.
#[derive(Clone, Copy, PartialEq)]
enum Node {
    File(usize),
    Folder(usize),
}

type Names = BTreeMap<String, Node>;
/// A folder and a name in it.
type Place = (usize, String);

/// A change of names: what was at a place is there no more, and where it is now.
struct Change {
    from: Option<Place>,
    to: Option<(Place, Node)>,
}

#[derive(Default)]
struct File {
    synced: Vec<u8>,
    pending: Vec<(Option<Vec<u8>>, u64)>, // data at a place, or a size
}

/// All that was there, as its programs saw it, and what of it is on disk for sure.
struct Disk {
    files: Vec<File>,
    folders: Vec<Names>,
    changes: Vec<Change>,
    /// Of each folder: so many of all changes are durable where they are its own.
    durable: Vec<usize>,
}

impl Disk {
    fn find(&self, path: &str) -> Option<Node> {
        let parts = path.split('/').filter(|part| !part.is_empty());
        parts.into_iter().try_fold(Node::Folder(0), |node, part| match node {
            Node::Folder(n) => self.folders[n].get(part).copied(),
            Node::File(_) => None,
        })
    }

    /// Where a path's last name stands. None in a folder that isn't there.
    fn place(&self, path: &str) -> Option<Place> {
        let (folder, name) = path.rsplit_once('/')?;
        match self.find(folder)? {
            Node::Folder(n) => Some((n, name.to_owned())),
            Node::File(_) => None,
        }
    }

    fn change(&mut self, from: Option<&str>, to: Option<(&str, Node)>) {
        let from = from.and_then(|path| self.place(path));
        let to = to.and_then(|(path, node)| Some((self.place(path)?, node)));
        let change = Change { from, to };
        change.apply(&mut self.folders);
        self.changes.push(change);
    }

    fn take(&mut self, op: &Op, root: &str) {
        let inside = |path: &str| path.strip_prefix(root).expect("in the recorded folder").to_owned();
        match op {
            Op::Write { path, at, data } => self.wrote(&inside(path), (Some(data.clone()), *at)),
            Op::Truncate { path, size } => self.wrote(&inside(path), (None, *size)),
            Op::Sync { path } => match self.find(&inside(path)) {
                Some(Node::File(n)) => {
                    let file = &mut self.files[n];
                    let pending = std::mem::take(&mut file.pending);
                    pending.into_iter().for_each(|(data, at)| apply(&mut file.synced, data.as_deref(), at));
                }
                Some(Node::Folder(n)) => self.durable[n] = self.changes.len(),
                None => {} // removed meanwhile
            },
            Op::Create { path } => {
                self.files.push(File::default());
                self.change(None, Some((&inside(path), Node::File(self.files.len() - 1))));
            }
            Op::Folder { path } if inside(path).is_empty() => {} // the folder itself
            Op::Folder { path } => {
                self.folders.push(Names::new());
                self.durable.push(0);
                self.change(None, Some((&inside(path), Node::Folder(self.folders.len() - 1))));
            }
            Op::Unlink { path } => self.change(Some(&inside(path)), None),
            Op::Rename { from, to } => {
                let (from, to) = (inside(from), inside(to));
                if let Some(node) = self.find(&from) {
                    self.change(Some(&from), Some((&to, node)));
                }
            }
        }
    }

    fn wrote(&mut self, path: &str, write: (Option<Vec<u8>>, u64)) {
        if let Some(Node::File(n)) = self.find(path) {
            self.files[n].pending.push(write);
        }
    }
}

impl Change {
    fn apply(&self, folders: &mut [Names]) {
        if let Some((folder, name)) = &self.from {
            folders[*folder].remove(name);
        }
        if let Some(((folder, name), node)) = &self.to {
            folders[*folder].insert(name.clone(), *node);
        }
    }

    /// A rename is in both folders or in none.
    fn is_kept(&self, n: usize, kept: &[usize]) -> bool {
        let folders = self.from.iter().chain(self.to.iter().map(|(place, _)| place)).map(|(folder, _)| *folder);
        folders.into_iter().any(|folder| n < kept[folder])
    }
}

/// The disk after these changes and a power loss, written into the folder `to` (for `from` in the names).
pub(crate) fn make(ops: &[Op], from: &str, to: &Path, dice: &mut Dice) {
    let mut disk = Disk { files: Vec::new(), folders: vec![Names::new()], changes: Vec::new(), durable: vec![0] };
    ops.iter().for_each(|op| disk.take(op, from));
    let all = disk.changes.len();
    let kept: Vec<usize> = disk.durable.iter().map(|at| at + dice.roll((all - at) as u64 + 1) as usize).collect();
    let mut folders = vec![Names::new(); disk.folders.len()];
    let changes = disk.changes.iter().enumerate().filter(|(n, change)| change.is_kept(*n, &kept));
    changes.for_each(|(_, change)| change.apply(&mut folders));
    write(&folders, 0, &disk.files, to, dice);
}

fn write(folders: &[Names], folder: usize, files: &[File], to: &Path, dice: &mut Dice) {
    for (name, node) in &folders[folder] {
        let place = to.join(name);
        match node {
            Node::Folder(n) => {
                fs::create_dir(&place).unwrap();
                write(folders, *n, files, &place, dice);
            }
            Node::File(n) => fs::write(place, files[*n].after(dice)).unwrap(),
        }
    }
}

impl File {
    fn after(&self, dice: &mut Dice) -> Vec<u8> {
        let mut bytes = self.synced.clone();
        let all = dice.roll(4); // 0: none of the later writes, 1: all, else each by itself
        for (data, at) in &self.pending {
            match (all, dice.roll(3), data) {
                (0, ..) | (2.., 0, _) => {}
                (2.., 1, Some(data)) => {
                    let cut = (dice.roll(data.len() as u64 / SECTOR + 1) * SECTOR) as usize;
                    apply(&mut bytes, Some(&data[..cut.min(data.len())]), *at);
                }
                (_, _, data) => apply(&mut bytes, data.as_deref(), *at),
            }
        }
        bytes
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
