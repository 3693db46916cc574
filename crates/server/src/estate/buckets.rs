//! `[[bucket]]`: how buckets are reached. Nothing of it is in the registry, which holds no secrets: a server
//! reads it from its file.

use super::file;
use super::read::{Document, Place, Problem};
use super::shape::At;
use crate::buckets::{Settings, check_endpoint};

/// How buckets of some names are reached.
#[derive(Clone, Debug)]
pub struct WantedBucket {
    /// Where it stands.
    pub place: Place,
    /// How.
    pub settings: Settings,
}

impl Document {
    /// How buckets are reached, if the file holds together.
    pub fn buckets(&self) -> Vec<WantedBucket> {
        of(self, &mut Vec::new())
    }
}

/// From sections as written, in their order.
pub(super) fn of(document: &Document, problems: &mut Vec<Problem>) -> Vec<WantedBucket> {
    let sections = document.estate.bucket.iter().flatten();
    sections.map(|section| bucket(document, section, problems)).collect()
}

fn bucket(
    document: &Document,
    section: &file::Bucket,
    problems: &mut Vec<Problem>,
) -> WantedBucket {
    let mut tell = |value: &At<String>, message: String| {
        problems.push(Problem::new(document.place(&value.bytes()), message));
    };
    if let Err(error) = glob::Pattern::new(&section.name) {
        tell(&section.name, format!("{:?} is no pattern: {}", *section.name, error.msg));
    }
    if section.name.is_empty() || section.name.contains('/') {
        tell(&section.name, format!("{:?} is no name of a bucket", *section.name));
    }
    if let Some(endpoint) = &section.endpoint
        && let Err(message) = check_endpoint(endpoint, section.plaintext == Some(true))
    {
        tell(endpoint, message);
    }
    let secret = &section.secret_access_key_file;
    match (&section.access_key_id, secret) {
        (Some(id), None) => tell(id, "write secret_access_key_file = \"/PATH\", too".to_owned()),
        (None, Some(file)) => tell(file, "write access_key_id = \"ID\", too".to_owned()),
        _ => {}
    }
    let hints = &section.notification_secret_file;
    for file in [secret, &section.ca_file, hints].into_iter().flatten() {
        if !file.starts_with('/') {
            tell(file, format!("{:?} is not an absolute path; write it from / on", **file));
        }
    }
    let text = |value: &Option<At<String>>| value.as_ref().map(|value| value.to_string());
    let key = section.access_key_id.as_ref().zip(secret.as_ref());
    WantedBucket {
        place: document.place(&section.name.bytes()),
        settings: Settings {
            pattern: section.name.to_string(),
            endpoint: text(&section.endpoint),
            region: text(&section.region),
            key: key.map(|(id, file)| (id.to_string(), file.as_str().into())),
            path_style: section.path_style.unwrap_or(section.endpoint.is_some()),
            ca_file: section.ca_file.as_ref().map(|file| file.as_str().into()),
            notification_secret_file: hints.as_ref().map(|file| file.as_str().into()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(keys: &str, expected: Result<bool, &str>) {
        let file = format!("version = 1\n[[bucket]]\nname = \"lake\"\n{keys}\n");
        let document = Document::read(file.as_bytes()).expect("reads");
        let found = document.wanted().map(|_| document.buckets()[0].settings.path_style);
        match (found, expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{keys}"),
            (Err(problems), Err(part)) => {
                assert!(problems[0].message.contains(part), "{problems:?}");
            }
            (found, _) => panic!("{keys}: {found:?}"),
        }
    }

    #[test]
    fn a_section_says_how_a_bucket_is_reached() {
        check("", Ok(false));
        check("endpoint = \"https://s3.example.com\"", Ok(true));
        check("endpoint = \"https://s3.example.com\"\npath_style = false", Ok(false));
        check("endpoint = \"http://s3.example.com\"", Err("in the clear"));
        check("endpoint = \"http://s3.example.com\"\nplaintext = true", Ok(true));
        check("access_key_id = \"a\"", Err("secret_access_key_file"));
        check("secret_access_key_file = \"/s\"", Err("access_key_id"));
        check("access_key_id = \"a\"\nsecret_access_key_file = \"s\"", Err("absolute path"));
        check("notification_secret_file = \"s\"", Err("absolute path"));
    }
}
