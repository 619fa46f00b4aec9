//! Keys of records: the length-prefixed pair of tenant and session, and the partition it belongs to.

/// Key of a record on our topics: tenant and session, each with its length before it, so that no two pairs give the
/// same bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Vec<u8>);

/// Longest tenant or session id in bytes.
pub const ID_BYTES_MAX: usize = 512;

impl Key {
    /// Makes the key of a session. Ids longer than [`ID_BYTES_MAX`] are refused before keys are made from them.
    pub fn of_session(tenant: &str, session_id: &str) -> Self {
        let mut bytes = Vec::with_capacity(tenant.len() + session_id.len() + 4);
        for id in [tenant, session_id] {
            let length = u16::try_from(id.len()).unwrap_or(u16::MAX);
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(id.as_bytes());
        }
        Self(bytes)
    }

    /// Takes the bytes of a key as they stand on a topic.
    pub fn from_bytes(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// Returns its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns tenant and session, where this is a session's key.
    pub fn session(&self) -> Option<(&str, &str)> {
        let (tenant, rest) = take_id(&self.0)?;
        let (session_id, rest) = take_id(rest)?;
        rest.is_empty().then_some((tenant, session_id))
    }

    /// Returns the partition, by the partitioner that Java producers use by default.
    pub fn partition(&self, partitions: u32) -> u32 {
        partition_of(&self.0, partitions)
    }
}

fn take_id(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    let (id, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    Some((std::str::from_utf8(id).ok()?, rest))
}

/// Returns the partition of a key: murmur2 with its sign bit cleared, modulo the number of partitions, as in Kafka's
/// default partitioner for Java.
pub fn partition_of(key: &[u8], partitions: u32) -> u32 {
    (murmur2(key) & 0x7fff_ffff) % partitions
}

/// Returns the 32-bit MurmurHash2 with the seed that Kafka uses.
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    const SEED: u32 = 0x9747_b28c;
    // Kafka hashes the length as a 32-bit integer; keys are far below that.
    let mut hash = SEED ^ (data.len() as u32);
    let (words, tail) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !tail.is_empty() {
        for (index, byte) in tail.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * index);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The values of Apache Kafka's own test of its hash.
    #[test]
    fn murmur2_agrees_with_kafka() {
        let expected: [(&[u8], i32); 7] = [
            (b"21", -973_932_308),
            (b"foobar", -790_332_482),
            (b"a-little-bit-long-string", -985_981_536),
            (b"a-little-bit-longer-string", -1_486_304_829),
            (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            (b"abc", 479_470_107),
            (b"", 275_646_681),
        ];
        for (data, hash) in expected {
            assert_eq!(murmur2(data) as i32, hash, "{data:?}");
        }
    }

    proptest! {
        #[test]
        fn a_key_gives_its_parts_back(tenant in ".{0,20}", session in ".{0,40}") {
            let key = Key::of_session(&tenant, &session);
            prop_assert_eq!(key.session(), Some((tenant.as_str(), session.as_str())));
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = Key::from_bytes(bytes).session();
        }
    }
}
