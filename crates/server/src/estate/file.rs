//! What the file can hold.

use std::fmt;

use doorbook_event::source::{INTERVAL_SECONDS_MAX, SourceKind};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::shape::{At, Form, Shape, sections};

/// The form of the file that this version reads.
pub const VERSION: u32 = 1;

sections! {
    /// The estate: which data systems there are, how their logs are found, and how long what they
    /// say is kept.
    Estate {
        /// The form of this file: 1.
        version: At<u32> = "1";
        /// How `doorbook serve` serves. Words of the command line stand before these.
        server: Option<Server> = "";
        /// Projects, each with its clusters: what Atlas calls groups. One that is taken out of the
        /// file stays in the registry, because its history does.
        project: Option<Vec<Project>> = "";
        /// What is followed. One that is taken out of the file is no longer followed; what it told
        /// stays.
        source: Option<Vec<Source>> = "";
        /// What somebody is to look through again and again, and to sign. One that is taken out of the
        /// file stays, so that nobody stops it in silence.
        review: Option<Vec<Review>> = "";
        /// How buckets of object stores are reached that sources name.
        bucket: Option<Vec<Bucket>> = "";
        /// Where lines are sent to us.
        receiver: Option<Vec<Receiver>> = "";
        /// Whose counts of logins are compared with what is recorded, so that hidden logins are
        /// noticed.
        counters: Option<Vec<Counters>> = "";
        /// Who is told when something is not seen.
        alarm: Option<Alarm> = "";
    }

    /// How `doorbook serve` serves. Words of the command line stand before these.
    Server {
        /// Where to listen; port 0 takes a free one. 127.0.0.1:8080 without it.
        listen: Option<At<String>> = "\"127.0.0.1:8080\"";
        /// The file with the certificate and those that lead to its authority, in PEM.
        tls_cert_file: Option<At<String>> = "\"/etc/doorbook/tls.crt\"";
        /// The file with the certificate's private key, in PEM.
        tls_key_file: Option<At<String>> = "\"/etc/doorbook/tls.key\"";
        /// Serve without TLS on an address that others can reach; for a proxy that does TLS.
        plaintext: Option<bool> = "false";
        /// How often each project's access history can be asked for: CAPACITY[/REFILL[/SECONDS]];
        /// 0 is no limit.
        access_history_rate: Option<At<String>> = "\"1200/500/60\"";
        /// Folders whose arrays users may register; without any they can register what is in an object
        /// store only.
        array_roots: Option<Vec<At<String>>> = "[\"/srv/arrays\"]";
    }

    /// A project with its clusters: what Atlas calls a group.
    Project {
        /// Its name, unique. It cannot be changed later: another name is another project.
        name: At<String> = "\"shop\"";
        /// Its id, 24 lower-case hexadecimal digits; drawn at random without it.
        id: Option<At<String>> = "\"32b6e34b3d91647abb20e7b8\"";
        /// How long its events are kept; without it as `doorbook retention` decided.
        retention: Option<At<Retention>> = "";
        /// Its clusters. One that is taken out of the file stays in the registry.
        cluster: Option<Vec<Cluster>> = "";
    }

    /// How long events are kept. Longer holds at once, shorter after seven days.
    Retention {
        /// Days after which an event is in no answer any more, or `"forever"`.
        keep_days: Keep = "400";
        /// Days that `keep_days` can never be below; without it as decided before, at first 0.
        minimum_days: Option<u32> = "90";
    }

    /// A cluster with its hosts.
    Cluster {
        /// Its name, unique in the project: ASCII letters, digits and hyphens.
        name: At<String> = "\"orders\"";
        /// Its mongods, each as `"NAME"`, `"NAME:PORT"` or a table that says more. The port is 27017
        /// without one.
        hosts: Option<Vec<At<Host>>> = "[\"db-1:27017\", { name = \"db-2:27017\", aliases = [\"orders-2.example\"] }]";
        /// Its mongoses, written like hosts. In a sharded cluster they are the ones that see logins.
        mongos: Option<Vec<At<Host>>> = "[\"router-1:27017\"]";
    }

    /// A host that has other names.
    HostTable {
        /// Its own name, with or without port.
        name: String = "\"db-2:27017\"";
        /// Other names that people know it by, or that its log calls it.
        aliases: Option<Vec<At<String>>> = "[\"orders-2.example\"]";
    }

    /// What is followed. Without `host` it stands for every host of its cluster, without `cluster`
    /// for every host of its project, each as a source of its own; a source that names a host
    /// stands before one that names the cluster, and that before one that names the project only.
    /// In `name`, `path`, `match` and `agent`, `{host}`, `{port}`, `{cluster}` and `{project}` are what
    /// the host at hand has.
    Source {
        /// Its name, unique: 1 to 64 of a-z, 0-9 and -_. (what placeholders bring is made to fit).
        /// It stands beside every event that it tells of.
        name: At<String> = "\"{cluster}.{host}\"";
        /// What it reads: the log of a mongod or mongos; or, with `namespace`, arrays as TileDB stores
        /// them, or what an object store writes of who came to them.
        kind: SourceKind = "\"mongod-log\"";
        /// The namespace (a user or an organization) of the arrays that it tells of, instead of
        /// `project`, `cluster` and `host`. Arrays that are found and not registered are registered there.
        namespace: Option<At<String>> = "\"alice\"";
        /// Of an object store's log, the place of the arrays that it tells of; without it all that are
        /// in buckets.
        arrays: Option<At<String>> = "\"s3://arrays/prod\"";
        /// How often arrays or logs are looked at that do not tell by themselves that there is something
        /// new; 60 seconds without it.
        interval_seconds: Option<At<Interval>> = "60";
        /// The project of its hosts; may be left out where there is one.
        project: Option<At<String>> = "\"shop\"";
        /// Only hosts of this cluster.
        cluster: Option<At<String>> = "\"orders\"";
        /// Only this host.
        host: Option<At<String>> = "\"db-1:27017\"";
        /// The live file: an absolute path, or a pattern with *, ? and [...] where its name changes.
        /// Rotated files beside it are found. A source has either this or `match`. Of arrays, the place
        /// of one or of many: `file:///PATH` or `s3://BUCKET/PREFIX`; of an object store's log a path or
        /// pattern, or, of Amazon's, `s3://BUCKET/PREFIX`.
        path: Option<At<String>> = "\"/srv/logs/{host}/mongod.log\"";
        /// Instead of `path`, for lines that are sent to Doorbook: which of them are the host's. Each
        /// label that is named must be there and have this value, a pattern with *, ? and [...]. No
        /// line may fit two sources.
        r#match: Option<At<Match>> = "{ \"host.name\" = \"{host}\", \"syslog.tag\" = \"mongod*\" }";
        /// The zone of times that name none: UTC (also without this), or a name such as
        /// Europe/Berlin.
        zone: Option<At<String>> = "\"UTC\"";
        /// The agent that follows the file where it is, on another machine; without it the server does.
        /// Its key is made with `doorbook key create --agent`.
        agent: Option<At<String>> = "\"{host}\"";
    }

    /// What somebody is to look through again and again, and to sign: docs/reviews.md. Its first round begins when
    /// the file is applied. Who may sign is said by roles in the project, and by whose the namespace is.
    Review {
        /// Its name, unique: 1 to 64 of a-z, 0-9 and -_.
        name: At<String> = "\"failures\"";
        /// The project whose history it is; may be left out where there is one.
        project: Option<At<String>> = "\"shop\"";
        /// Instead of a project, the namespace whose arrays' history it is.
        namespace: Option<At<String>> = "\"alice\"";
        /// Which events, in the words of docs/filters.md but times and `kind`; every event without it.
        filter: Option<At<String>> = "\"result:failed -class:system\"";
        /// By when somebody is to have signed: `"10:00"` of every day, `"monday 10:00"` of every week.
        due: At<String> = "\"monday 10:00\"";
        /// The zone of that: a name such as Europe/Berlin, or an offset; UTC without it.
        zone: Option<At<String>> = "\"Europe/Berlin\"";
    }

    /// How buckets of an object store are reached. Of several sections the first that fits a bucket's name
    /// stands for it; a bucket that none fits is Amazon's, with what the environment says
    /// (AWS_ACCESS_KEY_ID and the like).
    Bucket {
        /// The name of the bucket, or a pattern with *, ? and [...] for several.
        name: At<String> = "\"arrays\"";
        /// Where it is; Amazon's S3 without it.
        endpoint: Option<At<String>> = "\"https://s3.example.com\"";
        /// The region.
        region: Option<At<String>> = "\"us-east-1\"";
        /// The id of an access key that may list the bucket and get its objects; without it what the
        /// environment says.
        access_key_id: Option<At<String>> = "\"AKIAIOSFODNN7EXAMPLE\"";
        /// The file with the key's secret.
        secret_access_key_file: Option<At<String>> = "\"/etc/doorbook/s3.secret\"";
        /// Whether the bucket's name stands in the path of requests, and not in the host's name; with an
        /// endpoint true without it.
        path_style: Option<bool> = "true";
        /// The file with the authority of the endpoint's certificate, in PEM; without it those of the
        /// system.
        ca_file: Option<At<String>> = "\"/etc/doorbook/ca.pem\"";
        /// The file with a secret that the store sends with its notifications of what changed in the bucket:
        /// then it is looked at at once, and not only every interval. See docs/sources/tiledb-storage.md.
        notification_secret_file: Option<At<String>> = "\"/etc/doorbook/s3.notifications\"";
        /// Ask without TLS, on another machine too: everyone on the way can read along.
        plaintext: Option<bool> = "false";
    }

    /// Where lines are sent to us; sources with `match` say of which host each is.
    Receiver {
        /// Its name, unique: 1 to 64 of a-z, 0-9 and -_.
        name: At<String> = "\"syslog\"";
        /// What it understands.
        kind: ReceiverKind = "\"syslog\"";
        /// The project of the hosts whose lines these are; may be left out where there is one.
        project: Option<At<String>> = "\"shop\"";
        /// Where to listen.
        listen: At<String> = "\"0.0.0.0:6514\"";
        /// The file with the certificate and those that lead to its authority, in PEM.
        tls_cert_file: Option<At<String>> = "\"/etc/doorbook/tls.crt\"";
        /// The file with the certificate's private key, in PEM.
        tls_key_file: Option<At<String>> = "\"/etc/doorbook/tls.key\"";
        /// The file with the authority of the senders' certificates, in PEM: then nobody sends without
        /// one.
        client_ca_file: Option<At<String>> = "\"/etc/doorbook/senders.pem\"";
        /// Receive without TLS on an address that others can reach: who sends can then be anyone, and
        /// everyone on the way can read along.
        plaintext: Option<bool> = "false";
        /// The networks that senders are in; without it they may be anywhere.
        allow: Option<Vec<At<String>>> = "[\"10.0.0.0/8\"]";
    }

    /// Whose counts of logins are compared with what is recorded, so that hidden logins are noticed.
    /// Without `cluster` it stands for every cluster of its project that no other one names.
    Counters {
        /// The project of its clusters; may be left out where there is one.
        project: Option<At<String>> = "\"shop\"";
        /// Only this cluster.
        cluster: Option<At<String>> = "\"orders\"";
        /// A user of the database admin with the role clusterMonitor and a password of ASCII; it
        /// logs in by SCRAM-SHA-256.
        user: At<String> = "\"doorbook\"";
        /// The file with its password.
        password_file: At<String> = "\"/etc/doorbook/counters.password\"";
        /// The file with the authority of the hosts' certificates, in PEM; no TLS without it.
        ca_file: Option<At<String>> = "\"/etc/doorbook/ca.pem\"";
    }

    /// Who is told when something is not seen; without it alarms are in `doorbook alarm list` and in
    /// `/metrics` only.
    Alarm {
        /// Where messages are posted to, signed as Standard Webhooks says; http only on this machine.
        webhook_url: Option<At<String>> = "\"https://hooks.example.com/doorbook\"";
        /// The file with the secret that they are signed with: whsec_ and 24 to 64 bytes in base64.
        webhook_secret_file: Option<At<String>> = "\"/etc/doorbook/webhook.secret\"";
        /// The file with the authority of the webhook's certificate, in PEM; without it those of the
        /// system.
        webhook_ca_file: Option<At<String>> = "\"/etc/doorbook/ca.pem\"";
        /// Where messages are sent to as lines of RFC 5424: udp://HOST:PORT, tcp://HOST:PORT or
        /// unix:/dev/log.
        syslog: Option<At<String>> = "\"udp://127.0.0.1:514\"";
    }
}

impl Estate {
    /// What the file can hold.
    pub fn form() -> Form {
        <Estate as Shape>::form()
    }
}

impl Shape for SourceKind {
    fn form() -> Form {
        const WORDS: [&str; 5] = {
            let [a, b, c, d, e] = SourceKind::ALL;
            [a.word(), b.word(), c.word(), d.word(), e.word()]
        };
        Form::Word(&WORDS)
    }
}

/// What a receiver understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReceiverKind {
    /// Syslog, RFC 5424 and RFC 3164, over TCP or TLS.
    Syslog,
}

impl Shape for ReceiverKind {
    fn form() -> Form {
        Form::Word(&["syslog"])
    }
}

/// A number of days, or forever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep(pub Option<u32>);

impl Shape for Keep {
    fn form() -> Form {
        Form::Either(vec![Form::Number, Form::Word(&["forever"])])
    }
}

impl<'de> Deserialize<'de> for Keep {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Keep, D::Error> {
        struct KeepVisitor;
        impl Visitor<'_> for KeepVisitor {
            type Value = Keep;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of days or \"forever\"")
            }
            fn visit_i64<E: Error>(self, days: i64) -> Result<Keep, E> {
                let days = u32::try_from(days);
                days.map(|days| Keep(Some(days))).map_err(|_| {
                    E::custom("write a number of days from 1 to 36500, or \"forever\"")
                })
            }
            fn visit_str<E: Error>(self, word: &str) -> Result<Keep, E> {
                match word {
                    "forever" => Ok(Keep(None)),
                    _ => Err(E::custom("write a number of days (400), or \"forever\"")),
                }
            }
        }
        deserializer.deserialize_any(KeepVisitor)
    }
}

/// How often something is looked at, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval(pub u32);

impl Shape for Interval {
    fn form() -> Form {
        Form::Number
    }
}

impl<'de> Deserialize<'de> for Interval {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Interval, D::Error> {
        struct IntervalVisitor;
        impl Visitor<'_> for IntervalVisitor {
            type Value = Interval;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a number of seconds from 1 to {INTERVAL_SECONDS_MAX}")
            }
            fn visit_i64<E: Error>(self, seconds: i64) -> Result<Interval, E> {
                self.visit_i128(seconds.into())
            }
            fn visit_i128<E: Error>(self, seconds: i128) -> Result<Interval, E> {
                let seconds = u32::try_from(seconds).ok();
                let seconds =
                    seconds.filter(|seconds| (1..=INTERVAL_SECONDS_MAX).contains(seconds));
                seconds.map(Interval).ok_or_else(|| {
                    let range = format!("from 1 to {INTERVAL_SECONDS_MAX}");
                    E::custom(format!("write a number of seconds {range}"))
                })
            }
            // What fits into neither of the others.
            fn visit_u128<E: Error>(self, _: u128) -> Result<Interval, E> {
                self.visit_i128(i128::MAX)
            }
        }
        deserializer.deserialize_any(IntervalVisitor)
    }
}

/// Labels, each with what its value must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match(pub Vec<(String, String)>);

impl Shape for Match {
    fn form() -> Form {
        Form::Texts
    }
}

impl<'de> Deserialize<'de> for Match {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Match, D::Error> {
        let table = toml::Table::deserialize(deserializer)?;
        let mut rules = Vec::new();
        match flatten("", &table, &mut rules) {
            true => Ok(Match(rules)),
            false => Err(D::Error::custom("write match = { \"LABEL\" = \"VALUE\" }")),
        }
    }
}

/// TOML reads `host.name` without quotation marks as a table `host` with a key `name`.
fn flatten(path: &str, table: &toml::Table, rules: &mut Vec<(String, String)>) -> bool {
    table.iter().all(|(key, value)| {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match value {
            toml::Value::String(value) => {
                rules.push((path, value.clone()));
                true
            }
            toml::Value::Table(inner) => flatten(&path, inner, rules),
            _ => false,
        }
    })
}

/// A host: its name alone, or a table that says more.
#[derive(Clone, Debug)]
pub struct Host {
    /// Its name as written.
    pub name: String,
    /// Its other names as written.
    pub aliases: Vec<At<String>>,
}

impl Shape for Host {
    fn form() -> Form {
        Form::Either(vec![Form::Text, HostTable::form()])
    }
}

impl<'de> Deserialize<'de> for Host {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Host, D::Error> {
        struct HostVisitor;
        impl<'de> Visitor<'de> for HostVisitor {
            type Value = Host;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"NAME:PORT\" or { name = \"NAME:PORT\", aliases = [\"NAME\"] }")
            }
            fn visit_str<E: Error>(self, name: &str) -> Result<Host, E> {
                Ok(Host { name: name.to_owned(), aliases: Vec::new() })
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Host, A::Error> {
                let table = HostTable::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Host { name: table.name, aliases: table.aliases.unwrap_or_default() })
            }
        }
        deserializer.deserialize_any(HostVisitor)
    }
}
