//! [`Places`]: which array of a namespace lies where in a store.

use std::collections::HashMap;

use doorbook_event::{Target, Text};

/// Where the arrays of one namespace are, and their names in its history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    namespace: Text,
    /// By bucket, and by the way in it.
    arrays: HashMap<String, HashMap<String, Text>>,
}

impl Places {
    /// Arrays of a namespace by where they are stored (`s3://bucket/a`) and what their history has for
    /// a name.
    pub fn new<'a>(namespace: Text, arrays: impl IntoIterator<Item = (&'a str, Text)>) -> Places {
        let mut places = Places { namespace, arrays: HashMap::new() };
        for (uri, array) in arrays {
            let Some(rest) = uri.strip_prefix("s3://") else { continue };
            let (bucket, way) = rest.split_once('/').unwrap_or((rest, ""));
            let bucket = places.arrays.entry(bucket.to_owned()).or_default();
            bucket.insert(way.trim_end_matches('/').to_owned(), array);
        }
        places
    }

    /// The array that lies at a way in a bucket, if the namespace has it.
    pub(super) fn target(&self, bucket: &str, way: &str) -> Option<Target> {
        let array = self.arrays.get(bucket)?.get(way)?;
        Some(Target::Array { namespace: self.namespace.clone(), array: array.clone() })
    }
}
