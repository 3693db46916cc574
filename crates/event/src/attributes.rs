//! [`Attributes`]: what a source knows beyond the columns.

use std::fmt;
use std::ops::Index;

use minicbor::{Decode, Decoder, Encode, Encoder};
use serde::{Deserialize, Serialize, Serializer};

use crate::Text;

/// Names with values, each name once, sorted by name. In JSON and CBOR a map.
///
/// Most events have none or one, and a store has hundreds of thousands in memory: a tree takes 400
/// bytes for the first of them, this 32.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Attributes(Vec<(Text, Text)>);

impl Attributes {
    /// None.
    pub fn new() -> Attributes {
        Attributes::default()
    }

    /// Gives a name a value. Returns the one that it had.
    pub fn insert(&mut self, name: Text, value: Text) -> Option<Text> {
        match self.find(&name) {
            Ok(at) => Some(std::mem::replace(&mut self.0[at].1, value)),
            Err(at) => {
                if self.0.len() == self.0.capacity() {
                    self.0.reserve_exact(self.0.len().max(1));
                }
                self.0.insert(at, (name, value));
                None
            }
        }
    }

    /// The value of a name.
    pub fn get(&self, name: &str) -> Option<&Text> {
        self.find(name).ok().map(|at| &self.0[at].1)
    }

    /// Names and values, by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Text, &Text)> + Clone {
        self.0.iter().map(|(name, value)| (name, value))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn find(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(known, _)| known.as_str().cmp(name))
    }
}

impl Index<&str> for Attributes {
    type Output = Text;
    fn index(&self, name: &str) -> &Text {
        self.get(name).expect("who indexes knows the name")
    }
}

impl FromIterator<(Text, Text)> for Attributes {
    fn from_iter<I: IntoIterator<Item = (Text, Text)>>(members: I) -> Attributes {
        let mut attributes = Attributes::new();
        for (name, value) in members {
            attributes.insert(name, value);
        }
        attributes
    }
}

impl<const N: usize> From<[(Text, Text); N]> for Attributes {
    fn from(members: [(Text, Text); N]) -> Attributes {
        members.into_iter().collect()
    }
}

impl fmt::Debug for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl Serialize for Attributes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Attributes {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Attributes, D::Error> {
        struct Visitor;

        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Attributes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of texts")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                mut map: A,
            ) -> Result<Attributes, A::Error> {
                let mut attributes = Attributes::new();
                while let Some((name, value)) = map.next_entry()? {
                    attributes.insert(name, value);
                }
                Ok(attributes)
            }
        }

        deserializer.deserialize_map(Visitor)
    }
}

impl<C> Encode<C> for Attributes {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.map(self.0.len() as u64)?;
        for (name, value) in &self.0 {
            e.str(name)?.str(value)?;
        }
        Ok(())
    }
}

impl<'b, C> Decode<'b, C> for Attributes {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Attributes, minicbor::decode::Error> {
        d.map_iter::<Text, Text>()?.collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Goal: it is a map, in memory, in JSON and in CBOR. Method: the same names and values in a
        /// `BTreeMap`, which events had before and whose CBOR is on disks.
        #[test]
        fn it_is_a_map(members in proptest::collection::vec(("[a-e]{0,2}", "[a-z]{0,3}"), 0..8)) {
            let members: Vec<(Text, Text)> =
                members.iter().map(|(name, value)| (name.as_str().into(), value.as_str().into())).collect();
            let (mut map, mut attributes) = (BTreeMap::new(), Attributes::new());
            for (name, value) in &members {
                prop_assert_eq!(
                    attributes.insert(name.clone(), value.clone()),
                    map.insert(name.clone(), value.clone())
                );
            }
            prop_assert!(attributes.iter().eq(&map));
            prop_assert_eq!(attributes.len(), map.len());
            prop_assert_eq!(attributes.is_empty(), map.is_empty());
            prop_assert_eq!(&members.into_iter().collect::<Attributes>(), &attributes);
            for name in ["", "a", "bb", "z"] {
                prop_assert_eq!(attributes.get(name), map.get(name));
            }
            let json = serde_json::to_string(&attributes).expect("texts are JSON");
            prop_assert_eq!(&json, &serde_json::to_string(&map).expect("texts are JSON"));
            prop_assert_eq!(&serde_json::from_str::<Attributes>(&json).expect("is JSON"), &attributes);
            let cbor = minicbor::to_vec(&attributes).expect("a Vec takes every byte");
            prop_assert_eq!(&cbor, &minicbor::to_vec(&map).expect("a Vec takes every byte"));
            prop_assert_eq!(minicbor::decode::<Attributes>(&cbor).expect("is CBOR"), attributes);
        }
    }
}
