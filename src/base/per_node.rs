//! Arrays with an entry for every possible node, for serde, which derives arrays only up to 32 entries. A tuple of 64 keeps
//! postcard free of a length byte.

use core::fmt;
use core::marker::PhantomData;
use serde::de::{Error, SeqAccess, Visitor};
use serde::ser::SerializeTuple;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::limits::NODES_MAX;

/// For `#[serde(with = ...)]`.
pub fn serialize<T: Serialize, S: Serializer>(all: &[T; NODES_MAX], serializer: S) -> Result<S::Ok, S::Error> {
    let mut tuple = serializer.serialize_tuple(NODES_MAX)?;
    for entry in all {
        tuple.serialize_element(entry)?;
    }
    tuple.end()
}

/// For `#[serde(with = ...)]`.
pub fn deserialize<'de, T, D>(deserializer: D) -> Result<[T; NODES_MAX], D::Error>
where
    T: Deserialize<'de> + Copy + Default,
    D: Deserializer<'de>,
{
    struct Entries<T>(PhantomData<T>);
    impl<'de, T: Deserialize<'de> + Copy + Default> Visitor<'de> for Entries<T> {
        type Value = [T; NODES_MAX];
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{NODES_MAX} entries")
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<[T; NODES_MAX], A::Error> {
            let mut all = [T::default(); NODES_MAX];
            for (index, entry) in all.iter_mut().enumerate() {
                *entry = seq.next_element()?.ok_or_else(|| A::Error::invalid_length(index, &self))?;
            }
            Ok(all)
        }
    }
    deserializer.deserialize_tuple(NODES_MAX, Entries(PhantomData))
}
