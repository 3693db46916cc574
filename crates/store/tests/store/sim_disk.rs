//! [`SimDisk`]: a file system in memory that keeps through a power cut only what it has promised.
//!
//! Every file and every directory has what is *seen* (by the running process) and what is *durable*,
//! and between the two the changes that no sync has covered. A power cut decides for each of these
//! anew, by a [`Landing`]: a write may be lost, kept, or torn after any byte, or any subset of its
//! 512-byte sectors may be kept; a length may be kept without the bytes it counts, which then read as
//! zeros; a name that was made, changed or removed may or may not have been, whatever became of the
//! file's content and of the names beside it. What a sync has covered stays. Nothing is ever written
//! back behind the process's back: only a sync makes durable.
//!
//! A disk can *lie*: the syncs that it is told to ignore do nothing. A test that passes on a disk
//! that lies does not test that sync.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Component, Path};
use std::sync::{Arc, Mutex, MutexGuard};

use doorbook_store::disk::{Disk, DiskFile};

/// What is promised to survive in whole or not at all.
const SECTOR_SIZE_BYTES: u64 = 512;

/// A file system in memory. Clones are the same disk.
#[derive(Clone)]
pub struct SimDisk(Arc<Mutex<Sim>>);

/// What becomes of the changes that no sync covered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Landing {
    /// All are lost.
    Nothing,
    /// All are kept.
    Everything,
    /// Names and lengths are kept, bytes are lost: files full of zeros.
    NamesOnly,
    /// Bytes are kept, names are not.
    BytesOnly,
    /// Each as a generator with this seed decides.
    Random(u64),
}

impl Landing {
    /// Those that are not drawn.
    pub const CORNERS: [Landing; 4] =
        [Landing::Nothing, Landing::Everything, Landing::NamesOnly, Landing::BytesOnly];
}

/// Which syncs do nothing: told whether it is that of a file (`true`) or of a directory's names, and
/// which.
pub type Lie = fn(bool, &Path) -> bool;

/// The disk at one instant.
#[derive(Clone)]
pub struct Image {
    /// The root is the first.
    nodes: Vec<Arc<Node>>,
}

/// The disk before one of its changes.
#[derive(Clone)]
pub struct Instant {
    /// What it held.
    pub image: Image,
    /// How many steps of its user were acknowledged ([`SimDisk::acknowledge`]).
    pub acknowledged: usize,
    /// Which change came next.
    pub next: String,
}

struct Sim {
    image: Image,
    lie: Lie,
    /// The files that are locked.
    locked: BTreeSet<usize>,
    /// Each instant at which the power could be cut.
    instants: Option<Vec<Instant>>,
    acknowledged: usize,
    changes: usize,
    /// After this many changes there is no disk.
    off_after: usize,
    free_bytes: u64,
}

#[derive(Clone)]
enum Node {
    File(FileNode),
    Dir(DirNode),
}

#[derive(Clone, Default)]
struct FileNode {
    durable: Arc<Vec<u8>>,
    unsynced: Vec<Change>,
    seen: Arc<Vec<u8>>,
}

#[derive(Clone)]
enum Change {
    Write { offset: u64, bytes: Arc<[u8]> },
    SetLength(u64),
}

#[derive(Clone, Default)]
struct DirNode {
    durable: BTreeMap<String, usize>,
    unsynced: Vec<Naming>,
    seen: BTreeMap<String, usize>,
}

#[derive(Clone)]
enum Naming {
    Added { name: String, node: usize },
    Removed { name: String },
    Renamed { from: String, to: String, node: usize },
}

impl SimDisk {
    /// An empty disk on which `/sim` is there.
    pub fn new() -> SimDisk {
        let mut root = DirNode::default();
        root.durable.insert("sim".into(), 1);
        root.seen = root.durable.clone();
        let nodes = vec![Arc::new(Node::Dir(root)), Arc::new(Node::Dir(DirNode::default()))];
        SimDisk::from(Image { nodes })
    }

    /// A disk that holds what another one held.
    pub fn from(image: Image) -> SimDisk {
        SimDisk(Arc::new(Mutex::new(Sim {
            image,
            lie: |_, _| false,
            locked: BTreeSet::new(),
            instants: None,
            acknowledged: 0,
            changes: 0,
            off_after: usize::MAX,
            free_bytes: u64::MAX,
        })))
    }

    /// Keeps every instant at which the power could be cut, until [`SimDisk::instants`].
    pub fn recording(self) -> SimDisk {
        self.sim().instants = Some(Vec::new());
        self
    }

    /// Ignores some syncs.
    pub fn lying(self, lie: Lie) -> SimDisk {
        self.sim().lie = lie;
        self
    }

    /// Every operation fails once so many changes were made.
    pub fn off_after(self, changes: usize) -> SimDisk {
        self.sim().off_after = changes;
        self
    }

    /// What [`Disk::free_bytes`] says and writes are refused beyond.
    pub fn set_free_bytes(&self, free_bytes: u64) {
        self.sim().free_bytes = free_bytes;
    }

    /// Its user was told that a further step is durable.
    pub fn acknowledge(&self) {
        self.sim().acknowledged += 1;
    }

    /// How many changes were made.
    pub fn changes(&self) -> usize {
        self.sim().changes
    }

    /// What it holds now.
    pub fn image(&self) -> Image {
        self.sim().image.clone()
    }

    /// Every instant since [`SimDisk::recording`], the present one last.
    pub fn instants(&self) -> Vec<Instant> {
        let mut sim = self.sim();
        sim.record("nothing, the end");
        sim.instants.take().unwrap_or_default()
    }

    fn sim(&self) -> MutexGuard<'_, Sim> {
        // A test that fails while it holds the lock has said why.
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Image {
    /// What is found when the power comes back.
    pub fn after_power_cut(&self, landing: Landing) -> Image {
        let mut draw = Draw(match landing {
            Landing::Random(seed) => seed,
            _ => 0,
        });
        let settle = |node: &Arc<Node>| {
            Arc::new(match &**node {
                Node::File(file) => {
                    let bytes = Arc::new(file.landed(landing, &mut draw));
                    let (durable, seen) = (Arc::clone(&bytes), bytes);
                    Node::File(FileNode { durable, unsynced: Vec::new(), seen })
                }
                Node::Dir(dir) => {
                    let names = dir.landed(landing, &mut draw);
                    let (durable, seen) = (names.clone(), names);
                    Node::Dir(DirNode { durable, unsynced: Vec::new(), seen })
                }
            })
        };
        Image { nodes: self.nodes.iter().map(settle).collect() }
    }

    /// What a process finds that is started again after the sync of a file has failed: the kernel
    /// shows what was written and holds it for written, and it is not on the medium.
    pub fn after_failed_sync(&self, path: &Path) -> io::Result<Image> {
        let mut image = self.clone();
        let node = image.find(path)?;
        image.file(node)?.unsynced.clear();
        Ok(image)
    }

    /// A number that two images share if they hold the same files, as they are seen.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.walk(|path, bytes| (path, bytes).hash(&mut hasher));
        hasher.finish()
    }

    /// Every path with its file's size, for messages.
    pub fn paths(&self) -> Vec<(String, usize)> {
        let mut files = Vec::new();
        self.walk(|path, bytes| files.push((path.to_owned(), bytes.map_or(0, <[u8]>::len))));
        files
    }

    /// Shows every path that is seen, and the bytes of those that are files.
    fn walk(&self, mut show: impl FnMut(&str, Option<&[u8]>)) {
        let mut paths = vec![(String::new(), 0)];
        while let Some((path, node)) = paths.pop() {
            match &*self.nodes[node] {
                Node::File(file) => show(&path, Some(&file.seen)),
                Node::Dir(dir) => {
                    show(&path, None);
                    let within = dir.seen.iter();
                    paths.extend(within.map(|(name, node)| (format!("{path}/{name}"), *node)));
                }
            }
        }
    }

    fn find(&self, path: &Path) -> io::Result<usize> {
        let mut at = 0;
        for component in path.components() {
            let Component::Normal(name) = component else { continue };
            let Node::Dir(dir) = &*self.nodes[at] else {
                return Err(io::ErrorKind::NotADirectory.into());
            };
            let name = name.to_str().ok_or(io::ErrorKind::InvalidFilename)?;
            at = *dir.seen.get(name).ok_or(io::ErrorKind::NotFound)?;
        }
        Ok(at)
    }

    /// The directory around a path, and the path's last name.
    fn around(&self, path: &Path) -> io::Result<(usize, String)> {
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.ok_or(io::ErrorKind::InvalidFilename)?;
        Ok((self.find(path.parent().unwrap_or(Path::new("/")))?, name.to_owned()))
    }

    fn dir(&mut self, node: usize) -> io::Result<&mut DirNode> {
        match Arc::make_mut(&mut self.nodes[node]) {
            Node::Dir(dir) => Ok(dir),
            Node::File(_) => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn file(&mut self, node: usize) -> io::Result<&mut FileNode> {
        match Arc::make_mut(&mut self.nodes[node]) {
            Node::File(file) => Ok(file),
            Node::Dir(_) => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    /// A new node under a name that is free.
    fn add(&mut self, path: &Path, new: Node) -> io::Result<usize> {
        let (dir, name) = self.around(path)?;
        let node = self.nodes.len();
        self.dir(dir)?.rename(Naming::Added { name, node });
        self.nodes.push(Arc::new(new));
        Ok(node)
    }
}

impl FileNode {
    fn change(&mut self, change: Change) {
        change.apply(Arc::make_mut(&mut self.seen));
        self.unsynced.push(change);
    }

    fn sync(&mut self) {
        let durable = Arc::make_mut(&mut self.durable);
        self.unsynced.drain(..).for_each(|change| change.apply(durable));
    }

    fn landed(&self, landing: Landing, draw: &mut Draw) -> Vec<u8> {
        let mut bytes = Vec::clone(&self.durable);
        match landing {
            Landing::Nothing => bytes,
            Landing::Everything | Landing::BytesOnly => Vec::clone(&self.seen),
            Landing::NamesOnly => {
                bytes.resize(self.seen.len(), 0);
                bytes
            }
            Landing::Random(_) => match draw.below(4) {
                0 => bytes,
                1 => Vec::clone(&self.seen),
                2 => self.landed_in_order(draw),
                _ => self.landed_in_sectors(draw),
            },
        }
    }

    /// Some of the changes from the first on, and of the next one some bytes from the first on.
    fn landed_in_order(&self, draw: &mut Draw) -> Vec<u8> {
        let mut bytes = Vec::clone(&self.durable);
        let whole = draw.below(self.unsynced.len() as u64 + 1) as usize;
        self.unsynced[..whole].iter().for_each(|change| change.apply(&mut bytes));
        if let Some(Change::Write { offset, bytes: torn }) = self.unsynced.get(whole) {
            let length = draw.below(torn.len() as u64 + 1) as usize;
            Change::Write { offset: *offset, bytes: torn[..length].into() }.apply(&mut bytes);
        }
        bytes
    }

    /// Each sector of each change or not, and any of the lengths that the file had.
    fn landed_in_sectors(&self, draw: &mut Draw) -> Vec<u8> {
        let mut bytes = Vec::clone(&self.durable);
        let mut whole = bytes.clone();
        let mut lengths = vec![whole.len()];
        for change in &self.unsynced {
            change.apply(&mut whole);
            lengths.push(whole.len());
            match change {
                Change::SetLength(_) if draw.coin() => change.apply(&mut bytes),
                Change::SetLength(_) => {}
                Change::Write { offset, bytes: written } => {
                    let end = offset + written.len() as u64;
                    let mut at = *offset;
                    while at < end {
                        let next = ((at / SECTOR_SIZE_BYTES + 1) * SECTOR_SIZE_BYTES).min(end);
                        let sector = &written[(at - offset) as usize..(next - offset) as usize];
                        if draw.coin() {
                            Change::Write { offset: at, bytes: sector.into() }.apply(&mut bytes);
                        }
                        at = next;
                    }
                }
            }
        }
        // What lies beyond a length that was not kept is gone, too.
        bytes.resize(lengths[draw.below(lengths.len() as u64) as usize], 0);
        bytes
    }
}

impl Change {
    fn apply(&self, file: &mut Vec<u8>) {
        match self {
            Change::SetLength(length) => file.resize(*length as usize, 0),
            Change::Write { offset, bytes } => {
                let end = *offset as usize + bytes.len();
                if file.len() < end {
                    file.resize(end, 0);
                }
                file[*offset as usize..end].copy_from_slice(bytes);
            }
        }
    }
}

impl DirNode {
    fn rename(&mut self, naming: Naming) {
        naming.apply(&mut self.seen);
        self.unsynced.push(naming);
    }

    fn sync(&mut self) {
        let durable = &mut self.durable;
        self.unsynced.drain(..).for_each(|naming| naming.apply(durable));
    }

    fn landed(&self, landing: Landing, draw: &mut Draw) -> BTreeMap<String, usize> {
        let mut names = self.durable.clone();
        match landing {
            Landing::Nothing | Landing::BytesOnly => names,
            Landing::Everything | Landing::NamesOnly => self.seen.clone(),
            Landing::Random(_) => {
                for naming in &self.unsynced {
                    if draw.coin() {
                        naming.apply(&mut names);
                    }
                }
                names
            }
        }
    }
}

impl Naming {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Naming::Added { name, node } => {
                names.insert(name.clone(), *node);
            }
            Naming::Removed { name } => {
                names.remove(name);
            }
            Naming::Renamed { from, to, node } => {
                if names.get(from) == Some(node) {
                    names.remove(from);
                }
                names.insert(to.clone(), *node);
            }
        }
    }
}

/// A generator of numbers: splitmix64.
pub struct Draw(pub u64);

impl Draw {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub fn coin(&mut self) -> bool {
        self.below(2) == 0
    }
}

impl Sim {
    fn check_on(&self) -> io::Result<()> {
        match self.changes < self.off_after {
            true => Ok(()),
            false => Err(io::Error::other("the power is cut")),
        }
    }

    /// What comes before every change.
    fn change(&mut self, what: &str, path: &Path) -> io::Result<()> {
        self.check_on()?;
        if self.instants.is_some() {
            self.record(&format!("{what} {}", path.display()));
        }
        self.changes += 1;
        Ok(())
    }

    fn record(&mut self, next: &str) {
        let (image, acknowledged) = (self.image.clone(), self.acknowledged);
        if let Some(instants) = &mut self.instants {
            instants.push(Instant { image, acknowledged, next: next.to_owned() });
        }
    }
}

impl Disk for SimDisk {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        if let Some(parent) = dir.parent().filter(|_| self.list(dir).is_err()) {
            self.create_dir(parent)?;
        }
        self.create_subdir(dir)
    }

    fn create_subdir(&self, dir: &Path) -> io::Result<()> {
        let mut sim = self.sim();
        if sim.image.find(dir).is_ok() {
            return sim.check_on();
        }
        sim.change("make the directory", dir)?;
        sim.image.add(dir, Node::Dir(DirNode::default())).map(drop)
    }

    fn make_private(&self, _: &Path) -> io::Result<()> {
        self.sim().check_on()
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut sim = self.sim();
        let node = match sim.image.find(path) {
            Ok(node) => node,
            Err(_) => {
                sim.change("create", path)?;
                sim.image.add(path, Node::File(FileNode::default()))?
            }
        };
        if !sim.locked.insert(node) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let path = path.into();
        Ok(Box::new(SimFile { disk: self.clone(), node, path, has_lock: true }))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut sim = self.sim();
        sim.change("create", path)?;
        let node = match sim.image.find(path) {
            Ok(node) => {
                sim.image.file(node)?.change(Change::SetLength(0));
                node
            }
            Err(_) => sim.image.add(path, Node::File(FileNode::default()))?,
        };
        let path = path.into();
        Ok(Box::new(SimFile { disk: self.clone(), node, path, has_lock: false }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let sim = self.sim();
        sim.check_on()?;
        let node = sim.image.find(path)?;
        let path = path.into();
        Ok(Box::new(SimFile { disk: self.clone(), node, path, has_lock: false }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut sim = self.sim();
        sim.change("rename", from)?;
        let node = sim.image.find(from)?;
        let (from_dir, from) = sim.image.around(from)?;
        let (to_dir, to) = sim.image.around(to)?;
        if from_dir == to_dir {
            sim.image.dir(to_dir)?.rename(Naming::Renamed { from, to, node });
        } else {
            sim.image.dir(to_dir)?.rename(Naming::Added { name: to, node });
            sim.image.dir(from_dir)?.rename(Naming::Removed { name: from });
        }
        Ok(())
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut sim = self.sim();
        sim.change("link", from)?;
        let node = sim.image.find(from)?;
        let (dir, name) = sim.image.around(to)?;
        let dir = sim.image.dir(dir)?;
        if dir.seen.contains_key(&name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        // One file, two names, of which each is kept or lost by itself.
        dir.rename(Naming::Added { name, node });
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut sim = self.sim();
        sim.image.find(path)?;
        sim.change("remove", path)?;
        let (dir, name) = sim.image.around(path)?;
        sim.image.dir(dir)?.rename(Naming::Removed { name });
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let sim = self.sim();
        sim.check_on()?;
        match &*sim.image.nodes[sim.image.find(dir)?] {
            Node::Dir(dir) => Ok(dir.seen.keys().cloned().collect()),
            Node::File(_) => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut sim = self.sim();
        let node = sim.image.find(dir)?;
        sim.change("sync the names in", dir)?;
        if !(sim.lie)(false, dir) {
            sim.image.dir(node)?.sync();
        }
        Ok(())
    }

    fn free_bytes(&self, _: &Path) -> io::Result<u64> {
        let sim = self.sim();
        sim.check_on()?;
        Ok(sim.free_bytes)
    }
}

struct SimFile {
    disk: SimDisk,
    node: usize,
    /// The name under which it was opened.
    path: Box<Path>,
    has_lock: bool,
}

impl DiskFile for SimFile {
    fn size_bytes(&self) -> io::Result<u64> {
        let mut sim = self.disk.sim();
        sim.check_on()?;
        Ok(sim.image.file(self.node)?.seen.len() as u64)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut sim = self.disk.sim();
        sim.check_on()?;
        let seen = &sim.image.file(self.node)?.seen;
        let rest = seen.get(offset as usize..).unwrap_or_default();
        let length = rest.len().min(bytes.len());
        bytes[..length].copy_from_slice(&rest[..length]);
        Ok(length)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let mut sim = self.disk.sim();
        sim.change("write to", &self.path)?;
        // A write may always fall short; every third one does.
        let length = match sim.changes % 3 {
            0 => bytes.len().div_ceil(2),
            _ => bytes.len(),
        };
        let room = usize::try_from(sim.free_bytes).unwrap_or(usize::MAX);
        let length = length.min(room);
        if length == 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if sim.free_bytes != u64::MAX {
            sim.free_bytes -= length as u64;
        }
        sim.image.file(self.node)?.change(Change::Write { offset, bytes: bytes[..length].into() });
        Ok(length)
    }

    fn truncate(&self, size_bytes: u64) -> io::Result<()> {
        let mut sim = self.disk.sim();
        sim.change("cut off", &self.path)?;
        sim.image.file(self.node)?.change(Change::SetLength(size_bytes));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut sim = self.disk.sim();
        sim.change("sync", &self.path)?;
        if !(sim.lie)(true, &self.path) {
            sim.image.file(self.node)?.sync();
        }
        Ok(())
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        if self.has_lock {
            self.disk.sim().locked.remove(&self.node);
        }
    }
}
