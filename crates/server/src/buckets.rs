//! [`Buckets`]: how buckets of object stores are reached, by their names.
//!
//! `[[bucket]]` of the estate's file says where a bucket is and with which key; the secret is read from its
//! file when the bucket is opened. A bucket that no section stands for, or whose section names no key, takes
//! what the environment says (`AWS_ACCESS_KEY_ID`, `AWS_REGION`, a role of the machine, …), as every tool of
//! Amazon's does.
//!
//! A store may say by itself what changed in a bucket ([`Buckets::hints`]), if it knows the secret that the
//! bucket's section names for that.

pub mod hints;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use hyper::Uri;
use object_store::aws::AmazonS3Builder;
use object_store::{Certificate, ClientOptions, ObjectStore, RetryConfig};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use hints::Hints;

/// How buckets of some names are reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Their names: a pattern.
    pub pattern: String,
    /// Where they are; `None` for Amazon's.
    pub endpoint: Option<String>,
    /// The region.
    pub region: Option<String>,
    /// The key's id and the file with its secret; `None` for what the environment says.
    pub key: Option<(String, PathBuf)>,
    /// Whether the bucket stands in the path, and not in the host's name.
    pub path_style: bool,
    /// The authority of the endpoint's certificate, in PEM; `None` for those of the system.
    pub ca_file: Option<PathBuf>,
    /// The file with the secret by which the store proves what it says of them; `None` if it says nothing.
    pub notification_secret_file: Option<PathBuf>,
}

/// How every bucket is reached. Cheap to clone; a change holds from the next time on that one is opened.
#[derive(Clone, Default)]
pub struct Buckets {
    settings: Arc<RwLock<(u64, Vec<Settings>)>>,
    hints: Hints,
}

/// One bucket, which is opened when it is needed, and again whenever it is reached otherwise.
#[derive(Clone)]
pub struct Bucket {
    name: String,
    buckets: Buckets,
    /// By which version of the settings.
    opened: Option<(u64, Arc<dyn ObjectStore>)>,
}

/// Why a bucket cannot be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CannotOpen(String);

impl fmt::Display for CannotOpen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for CannotOpen {}

/// One who does not answer is asked again after the interval: until then nobody is to wait for it.
const TIMEOUT: Duration = Duration::from_secs(30);

impl Buckets {
    /// These, and no others any more.
    pub fn set(&self, settings: Vec<Settings>) {
        let mut own = self.settings.write().unwrap_or_else(PoisonError::into_inner);
        *own = (own.0 + 1, settings);
    }

    /// Whether anyone said yet how buckets are reached.
    pub fn is_told(&self) -> bool {
        self.version() > 0
    }

    /// Changes whenever how buckets are reached does.
    pub fn version(&self) -> u64 {
        self.settings.read().unwrap_or_else(PoisonError::into_inner).0
    }

    /// What stores say has changed.
    pub fn hints(&self) -> &Hints {
        &self.hints
    }

    /// The sections of buckets of which whoever knows this secret may say that something changed.
    pub fn sections_of(&self, secret: &str) -> Vec<Settings> {
        let own = self.settings.read().unwrap_or_else(PoisonError::into_inner).1.clone();
        own.into_iter().filter(|settings| settings.has_notification_secret(secret)).collect()
    }

    /// Whether one of these sections stands for a bucket.
    pub fn is_of(&self, sections: &[Settings], bucket: &str) -> bool {
        self.settings_of(bucket).is_some_and(|settings| sections.contains(&settings))
    }

    /// The store of a bucket's objects. Nothing is asked of it yet.
    pub fn open(&self, bucket: &str) -> Result<Arc<dyn ObjectStore>, CannotOpen> {
        let settings = self.settings_of(bucket);
        let builder = match &settings {
            Some(settings) => settings.builder()?,
            None => environment(),
        };
        let endpoint = settings.as_ref().and_then(|settings| settings.endpoint.as_deref());
        let is_plain = endpoint.is_some_and(|endpoint| endpoint.starts_with("http://"));
        let mut options = ClientOptions::new()
            .with_timeout(TIMEOUT)
            .with_connect_timeout(TIMEOUT / 6)
            .with_allow_http(is_plain);
        if let Some(file) = settings.as_ref().and_then(|settings| settings.ca_file.as_deref()) {
            options = authority(file, options)?;
        }
        let retry =
            RetryConfig { max_retries: 2, retry_timeout: TIMEOUT, ..RetryConfig::default() };
        let store = builder.with_bucket_name(bucket).with_client_options(options).with_retry(retry);
        let store =
            store.build().map_err(|error| CannotOpen(format!("bucket {bucket}: {error}")))?;
        Ok(Arc::new(store))
    }

    fn settings_of(&self, bucket: &str) -> Option<Settings> {
        let own = self.settings.read().unwrap_or_else(PoisonError::into_inner);
        let fits = |settings: &&Settings| {
            glob::Pattern::new(&settings.pattern).is_ok_and(|pattern| pattern.matches(bucket))
        };
        own.1.iter().find(fits).cloned()
    }
}

impl Bucket {
    /// Of this name. Nothing is opened yet.
    pub fn new(name: &str, buckets: &Buckets) -> Bucket {
        Bucket { name: name.to_owned(), buckets: buckets.clone(), opened: None }
    }

    /// One that is reached by this store, whatever the settings say.
    #[cfg(test)]
    pub(crate) fn of_store(name: &str, store: Arc<dyn ObjectStore>) -> Bucket {
        Bucket { opened: Some((0, store)), ..Bucket::new(name, &Buckets::default()) }
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The store of its objects.
    pub fn store(&mut self) -> Result<Arc<dyn ObjectStore>, CannotOpen> {
        let version = self.buckets.version();
        if let Some((_, store)) = self.opened.as_ref().filter(|(of, _)| *of == version) {
            return Ok(Arc::clone(store));
        }
        let store = self.buckets.open(&self.name)?;
        self.opened = Some((version, Arc::clone(&store)));
        Ok(store)
    }
}

impl Settings {
    /// Whether the files that it names can be used.
    pub fn check_files(&self) -> Result<(), CannotOpen> {
        if let Some(file) = &self.ca_file {
            authority(file, ClientOptions::new())?;
        }
        if let Some(file) = &self.notification_secret_file {
            secret(file)?;
        }
        self.builder().map(drop)
    }

    /// In a time that does not tell how much of it is right.
    fn has_notification_secret(&self, said: &str) -> bool {
        let Some(file) = &self.notification_secret_file else { return false };
        let hash = |text: &str| Sha256::digest(text);
        secret(file).is_ok_and(|own| bool::from(hash(&own).ct_eq(&hash(said))))
    }

    fn builder(&self) -> Result<AmazonS3Builder, CannotOpen> {
        let mut builder = match &self.key {
            None => environment(),
            Some((id, file)) => {
                AmazonS3Builder::new().with_access_key_id(id).with_secret_access_key(secret(file)?)
            }
        };
        if let Some(region) = &self.region {
            builder = builder.with_region(region);
        }
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        Ok(builder.with_virtual_hosted_style_request(!self.path_style))
    }
}

/// Whether an endpoint is an address, and one to which a key's signatures and arrays' names may go.
pub fn check_endpoint(endpoint: &str, plaintext: bool) -> Result<(), String> {
    let example = "write https://HOST or https://HOST:PORT";
    let url: Uri = endpoint.parse().map_err(|_| format!("{endpoint:?} is no URL; {example}"))?;
    let (Some(scheme), Some(host)) = (url.scheme_str(), url.host()) else {
        return Err(format!("{endpoint:?} is no URL; {example}"));
    };
    if url.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err("a key in a URL is shown to whoever reads the file; write access_key_id and \
                    secret_access_key_file"
            .to_owned());
    }
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    let is_here = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
    match scheme {
        "https" => Ok(()),
        "http" if is_here || plaintext => Ok(()),
        "http" => Err(format!(
            "{endpoint:?} is asked in the clear, on another machine: write https://, or plaintext = \
             true if everyone on the way may read along"
        )),
        other => Err(format!("{other:?} is no way to an object store; {example}")),
    }
}

fn environment() -> AmazonS3Builder {
    AmazonS3Builder::from_env()
}

fn secret(file: &Path) -> Result<String, CannotOpen> {
    let cannot = |why: String| CannotOpen(format!("{}: {why}", file.display()));
    let text = std::fs::read_to_string(file).map_err(|error| cannot(error.to_string()))?;
    match text.trim() {
        "" => Err(cannot("is empty; it has to hold a secret".to_owned())),
        secret => Ok(secret.to_owned()),
    }
}

fn authority(file: &Path, options: ClientOptions) -> Result<ClientOptions, CannotOpen> {
    let cannot = |why: String| CannotOpen(format!("{}: {why}", file.display()));
    let pem = std::fs::read(file).map_err(|error| cannot(error.to_string()))?;
    let found = Certificate::from_pem_bundle(&pem).map_err(|error| cannot(error.to_string()))?;
    if found.is_empty() {
        return Err(cannot("holds no certificate".to_owned()));
    }
    Ok(found.into_iter().fold(options, ClientOptions::with_root_certificate))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pattern: &str) -> Settings {
        Settings {
            pattern: pattern.to_owned(),
            endpoint: Some("http://127.0.0.1:1".to_owned()),
            region: None,
            key: None,
            path_style: true,
            ca_file: None,
            notification_secret_file: None,
        }
    }

    #[test]
    fn the_first_section_that_fits_stands_for_a_bucket() {
        let buckets = Buckets::default();
        let before = buckets.version();
        buckets.set(vec![settings("lake"), settings("lake-*")]);
        assert_ne!(buckets.version(), before);
        let pattern = |bucket: &str| buckets.settings_of(bucket).map(|found| found.pattern);
        assert_eq!(pattern("lake").as_deref(), Some("lake"));
        assert_eq!(pattern("lake-2").as_deref(), Some("lake-*"));
        assert_eq!(pattern("other"), None);
    }

    #[test]
    fn nothing_goes_in_the_clear_that_was_not_said_to() {
        let check = |endpoint: &str, plaintext, expected: bool| {
            let checked = check_endpoint(endpoint, plaintext);
            assert_eq!(checked.is_ok(), expected, "{endpoint}: {checked:?}");
        };
        check("https://s3.example.com", false, true);
        check("http://127.0.0.1:7480", false, true);
        check("http://[::1]:7480", false, true);
        check("http://s3.example.com", false, false);
        check("http://s3.example.com", true, true);
        check("s3.example.com", true, false);
        check("ftp://s3.example.com", true, false);
        check("https://key:secret@s3.example.com", false, false);
    }

    /// Goal: what is wrong with a file is said with its name, and a secret is in no message.
    #[test]
    fn files_that_cannot_be_used_are_named() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let file = dir.path().join("secret");
        let of = |key: &Path| Settings { key: Some(("id".into(), key.into())), ..settings("*") };
        let absent = of(&file).check_files().expect_err("not there").to_string();
        assert!(absent.contains("/secret: No such file"), "{absent}");
        std::fs::write(&file, "\n").expect("written");
        let empty = of(&file).check_files().expect_err("empty").to_string();
        assert!(empty.contains("is empty"), "{empty}");
        std::fs::write(&file, "s3cr3t\n").expect("written");
        of(&file).check_files().expect("can be used");
        let told = Settings { notification_secret_file: Some(file.clone()), ..settings("lake") };
        told.check_files().expect("can be used");
        let buckets = Buckets::default();
        buckets.set(vec![settings("lake-1"), told, settings("*")]);
        assert_eq!(buckets.sections_of("s3cr3").len(), 0);
        let sections = buckets.sections_of("s3cr3t");
        assert!(buckets.is_of(&sections, "lake") && !buckets.is_of(&sections, "pond"));
        let ca = Settings { ca_file: Some(file.clone()), ..settings("*") };
        let error = ca.check_files().expect_err("no certificate").to_string();
        assert!(error.contains("/secret") && !error.contains("s3cr3t"), "{error}");
    }
}
