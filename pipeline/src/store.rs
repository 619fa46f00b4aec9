//! Ordered stores of keys and values: on disk (fjall) and in memory.
//!
//! The embedded log, the tables and the positions are spaces of one store, so that a step is one batch.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError, RwLock};

/// A failure of a store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store on disk failed.
    #[error("cannot {action} the store on disk")]
    Disk {
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        #[source]
        source: fjall::Error,
    },
}

impl StoreError {
    /// Tells whether another process has the store open.
    pub fn is_in_use(&self) -> bool {
        matches!(self, Self::Disk { source: fjall::Error::Locked, .. })
    }
}

/// A space of a store: keys of different spaces never meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Space(usize);

/// A key with its value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// A change of one key; without a value the key is removed.
#[derive(Debug)]
pub struct Change {
    /// The space.
    pub space: Space,
    /// The key.
    pub key: Vec<u8>,
    /// Its new value.
    pub value: Option<Vec<u8>>,
}

/// An ordered store with atomic batches.
pub trait Store: Send + Sync + 'static {
    /// Opens a space, which is made where it is missing.
    fn space(&self, name: &str) -> Result<Space, StoreError>;

    /// Returns a value.
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Returns up to `pairs_max` pairs with `from <= key < to`, in order.
    fn range(&self, space: Space, from: &[u8], to: &[u8], pairs_max: usize) -> Result<Vec<Pair>, StoreError>;

    /// Returns the last pair with `from <= key < to`.
    fn last(&self, space: Space, from: &[u8], to: &[u8]) -> Result<Option<Pair>, StoreError>;

    /// Makes all changes or none; a durable batch outlives a loss of power once this returns.
    fn write(&self, changes: Vec<Change>, durable: bool) -> Result<(), StoreError>;
}

/// Returns the first key after all that begin with a prefix.
pub fn after_prefix(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.last_mut() {
        if *last < u8::MAX {
            *last += 1;
            return end;
        }
        end.pop();
    }
    // A prefix of 0xff bytes alone has no successor; longer than any key of ours is far enough.
    vec![u8::MAX; prefix.len() + 64]
}

/// Sizes of a store on disk.
#[derive(Clone, Copy, Debug)]
pub struct DiskLimits {
    /// Bytes of the block cache.
    pub cache_bytes: u64,
    /// Bytes of one space's write buffer before it is flushed.
    pub write_buffer_bytes: u64,
    /// Bytes of all journals before the oldest spaces are flushed.
    pub journal_bytes_max: u64,
}

/// A store on disk.
pub struct DiskStore {
    database: fjall::Database,
    spaces: RwLock<Vec<(String, fjall::Keyspace)>>,
    limits: DiskLimits,
}

impl DiskStore {
    /// Opens a store in a folder, which is made where it is missing. One process at a time.
    pub fn open(folder: &Path, limits: DiskLimits) -> Result<Self, StoreError> {
        let database = fjall::Database::builder(folder)
            .cache_size(limits.cache_bytes)
            .max_journaling_size(limits.journal_bytes_max)
            .manual_journal_persist(true)
            .open()
            .map_err(|source| StoreError::Disk { action: "open", source })?;
        Ok(Self { database, spaces: RwLock::default(), limits })
    }

    fn keyspace(&self, space: Space) -> fjall::Keyspace {
        self.spaces.read().unwrap_or_else(PoisonError::into_inner)[space.0].1.clone()
    }
}

fn read_error(source: fjall::Error) -> StoreError {
    StoreError::Disk { action: "read", source }
}

impl Store for DiskStore {
    fn space(&self, name: &str) -> Result<Space, StoreError> {
        let mut spaces = self.spaces.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = spaces.iter().position(|(known, _)| known == name) {
            return Ok(Space(index));
        }
        let options = || {
            fjall::KeyspaceCreateOptions::default()
                .max_memtable_size(self.limits.write_buffer_bytes)
                .manual_journal_persist(true)
        };
        let keyspace = self
            .database
            .keyspace(name, options)
            .map_err(|source| StoreError::Disk { action: "open a space of", source })?;
        spaces.push((name.to_owned(), keyspace));
        Ok(Space(spaces.len() - 1))
    }

    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let value = self.keyspace(space).get(key).map_err(read_error)?;
        Ok(value.map(|value| value.to_vec()))
    }

    fn range(&self, space: Space, from: &[u8], to: &[u8], pairs_max: usize) -> Result<Vec<Pair>, StoreError> {
        let mut pairs = Vec::new();
        for guard in self.keyspace(space).range(from..to).take(pairs_max) {
            let (key, value) = guard.into_inner().map_err(read_error)?;
            pairs.push((key.to_vec(), value.to_vec()));
        }
        Ok(pairs)
    }

    fn last(&self, space: Space, from: &[u8], to: &[u8]) -> Result<Option<Pair>, StoreError> {
        let Some(guard) = self.keyspace(space).range(from..to).next_back() else { return Ok(None) };
        let (key, value) = guard.into_inner().map_err(read_error)?;
        Ok(Some((key.to_vec(), value.to_vec())))
    }

    fn write(&self, changes: Vec<Change>, durable: bool) -> Result<(), StoreError> {
        let durability = if durable { fjall::PersistMode::SyncData } else { fjall::PersistMode::Buffer };
        let mut batch = self.database.batch().durability(Some(durability));
        let spaces = self.spaces.read().unwrap_or_else(PoisonError::into_inner);
        for change in changes {
            let keyspace = &spaces[change.space.0].1;
            match change.value {
                Some(value) => batch.insert(keyspace, change.key, value),
                None => batch.remove(keyspace, change.key),
            }
        }
        drop(spaces);
        batch.commit().map_err(|source| StoreError::Disk { action: "write to", source })
    }
}

/// The pairs of a space in memory.
type Pairs = BTreeMap<Vec<u8>, Vec<u8>>;

/// A store in memory, for replays and tests.
#[derive(Debug, Default)]
pub struct MemoryStore {
    spaces: Mutex<Vec<(String, Pairs)>>,
}

impl MemoryStore {
    fn with<T>(&self, space: Space, read: impl FnOnce(&Pairs) -> T) -> T {
        read(&self.spaces.lock().unwrap_or_else(PoisonError::into_inner)[space.0].1)
    }
}

impl Store for MemoryStore {
    fn space(&self, name: &str) -> Result<Space, StoreError> {
        let mut spaces = self.spaces.lock().unwrap_or_else(PoisonError::into_inner);
        let index = spaces.iter().position(|(known, _)| known == name).unwrap_or_else(|| {
            spaces.push((name.to_owned(), BTreeMap::new()));
            spaces.len() - 1
        });
        Ok(Space(index))
    }

    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.with(space, |pairs| pairs.get(key).cloned()))
    }

    fn range(&self, space: Space, from: &[u8], to: &[u8], pairs_max: usize) -> Result<Vec<Pair>, StoreError> {
        use std::ops::Bound::{Excluded, Included};
        if from >= to {
            return Ok(Vec::new());
        }
        let own = |(key, value): (&Vec<u8>, &Vec<u8>)| (key.clone(), value.clone());
        Ok(self.with(space, |pairs| {
            pairs.range::<[u8], _>((Included(from), Excluded(to))).take(pairs_max).map(own).collect()
        }))
    }

    fn last(&self, space: Space, from: &[u8], to: &[u8]) -> Result<Option<Pair>, StoreError> {
        use std::ops::Bound::{Excluded, Included};
        if from >= to {
            return Ok(None);
        }
        Ok(self.with(space, |pairs| {
            let last = pairs.range::<[u8], _>((Included(from), Excluded(to))).next_back();
            last.map(|(key, value)| (key.clone(), value.clone()))
        }))
    }

    fn write(&self, changes: Vec<Change>, _durable: bool) -> Result<(), StoreError> {
        let mut spaces = self.spaces.lock().unwrap_or_else(PoisonError::into_inner);
        for change in changes {
            let pairs = &mut spaces[change.space.0].1;
            match change.value {
                Some(value) => pairs.insert(change.key, value),
                None => pairs.remove(&change.key),
            };
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(store: &dyn Store) {
        let one = store.space("one").expect("a space opens");
        let two = store.space("two").expect("a space opens");
        assert_eq!(store.space("one").expect("a space opens again"), one);
        let change = |space, key: &str, value: Option<&str>| Change {
            space,
            key: key.into(),
            value: value.map(|value| value.into()),
        };
        store
            .write(
                vec![change(one, "a", Some("1")), change(one, "b", Some("2")), change(two, "a", Some("3"))],
                true,
            )
            .expect("a batch is written");
        store
            .write(vec![change(one, "a", None), change(one, "c", Some("4"))], false)
            .expect("a batch is written");
        assert_eq!(store.get(one, b"a").expect("a key is read"), None);
        assert_eq!(store.get(two, b"a").expect("a key is read"), Some(b"3".to_vec()));
        let keys = |from: &str, to: &str, most| -> Vec<Vec<u8>> {
            let pairs = store.range(one, from.as_bytes(), to.as_bytes(), most).expect("a range is read");
            pairs.into_iter().map(|(key, _)| key).collect()
        };
        assert_eq!(keys("a", "z", 9), [b"b".to_vec(), b"c".to_vec()]);
        assert_eq!(keys("a", "z", 1), [b"b".to_vec()]);
        assert_eq!(keys("a", "c", 9), [b"b".to_vec()]);
        assert_eq!(keys("z", "a", 9), Vec::<Vec<u8>>::new());
        assert_eq!(
            store.last(one, b"a", b"z").expect("the last is read").map(|pair| pair.0),
            Some(b"c".to_vec())
        );
    }

    #[test]
    fn both_stores_keep_the_same_contract() {
        check(&MemoryStore::default());
        let folder = tempfile::tempdir().expect("a temporary folder");
        let limits =
            DiskLimits { cache_bytes: 1 << 20, write_buffer_bytes: 1 << 20, journal_bytes_max: 64 << 20 };
        check(&DiskStore::open(folder.path(), limits).expect("the store opens"));
    }

    #[test]
    fn a_prefix_ends_before_its_successor() {
        assert_eq!(after_prefix(b"ab"), b"ac".to_vec());
        assert_eq!(after_prefix(&[1, 255]), vec![2]);
        assert!(after_prefix(&[255, 255]) > vec![255, 255, 255, 254]);
    }
}
