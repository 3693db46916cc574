//! What a real object store says and holds: notifications of what changed, and logs that were delivered.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::pages::{Block, blocks};
use crate::storage::{PARTS, Scene};
use crate::support::DataDir;
use crate::support::ceph::Ceph;
use crate::support::process::until;
use crate::support::tools::{self, left_out};

/// Goal: what is done in a bucket is told at once although it is looked at once an hour, because the store says that
/// something changed. Method: a topic and a notification of a real gateway, as the page says; the real `tiledb`
/// works arrays there, part by part, and its list of operations is the truth.
#[test]
fn a_store_says_what_changed() -> Result<()> {
    let Some(python) = tools::tiledb_python().filter(|_| tools::has_ceph()) else {
        left_out("a store says what changed", "no Ceph; `cargo xtask test` installs one");
        return Ok(());
    };
    // A secret is taken over TLS only, which another program would end before this gateway.
    let ceph = Ceph::start("rgw trust forwarded https = true")?;
    ceph.user("ann")?;
    ceph.ask("ann", "PUT", "/arrays", &[], b"")?;
    let data = DataDir::new()?;
    let at = data.folder().canonicalize()?;
    for (name, secret) in [("s3.secret", "secret-ann"), ("s3.notifications", "h1nt")] {
        std::fs::write(at.join(name), secret)?;
    }
    let file = format!(
        "version = 1\n\
         [[source]]\nname = \"lake.s3\"\nkind = \"tiledb-storage\"\nnamespace = \"alice\"\n\
         path = \"s3://arrays/prod\"\ninterval_seconds = 3600\n\
         [[bucket]]\nname = \"arrays\"\nendpoint = \"http://{}\"\nregion = \"us-east-1\"\n\
         access_key_id = \"ann\"\nsecret_access_key_file = \"{at}/s3.secret\"\n\
         notification_secret_file = \"{at}/s3.notifications\"\n",
        ceph.endpoint,
        at = at.display()
    );
    let endpoint = Some(ceph.endpoint.clone());
    let mut scene = Scene::new(data, python, "s3://arrays/prod".to_owned(), endpoint, &file)?;
    until("the first look", || {
        let sources: Vec<Value> = scene.data.json(&["source", "list"])?;
        Ok((sources[0]["state"] == "following").then_some(()))
    })?;
    let (topic, notification) = page(&scene.server.base)?;
    let form = ["content-type:application/x-www-form-urlencoded", "x-forwarded-proto:https"];
    ceph.ask("ann", "POST", "/", &form, topic.as_bytes())?;
    ceph.ask("ann", "PUT", "/arrays?notification", &[], notification.as_bytes())?;
    for part in PARTS {
        scene.work(part)?;
    }
    scene.end()
}

/// What the page has set up, as the store's own commands send it.
fn page(base: &str) -> Result<(String, String)> {
    let page = blocks("docs/sources/tiledb-storage.md")?;
    let has_topic = |block: &Block| matches!(block, Block::Shell(lines) if lines.contains("sns"));
    ensure!(page.iter().any(has_topic), "the page has a topic made");
    let address = base.replace("http://", "http://doorbook:h1nt@");
    let escaped = address.replace(':', "%3A").replace('/', "%2F").replace('@', "%40");
    Ok((
        format!(
            "Action=CreateTopic&Name=doorbook&Attributes.entry.1.key=push-endpoint\
             &Attributes.entry.1.value={escaped}%2Fs3%2Fnotifications"
        ),
        "<NotificationConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><TopicConfiguration>\
         <Id>doorbook</Id><Topic>arn:aws:sns:default::doorbook</Topic>\
         </TopicConfiguration></NotificationConfiguration>"
            .to_owned(),
    ))
}

/// Goal: logs are read from the bucket that they are delivered to, those below the prefix and no others; one that
/// cannot be had is put aside with its reason and keeps no other back. Method: both of Amazon's logs in a real bucket,
/// packed and plain; an object of somebody else in between; the page's key names the prefix.
#[test]
fn logs_are_read_from_a_real_bucket() -> Result<()> {
    if tools::tiledb_python().is_none() || !tools::has_ceph() {
        left_out("logs in a real bucket", "no Ceph; `cargo xtask test` installs one");
        return Ok(());
    }
    let ceph = Ceph::start("")?;
    ["ann", "bob"].iter().try_for_each(|user| ceph.user(user))?;
    let logs = tools::workspace().join("crates/source/src/object_log/test_data");
    let read = |name: &str| -> Result<Vec<u8>> {
        // Long over, so that nothing is waited for.
        Ok(std::fs::read_to_string(logs.join(name))?.replace("2026", "2020").into_bytes())
    };
    let (s3, trail) = (read("s3-access.log")?, read("cloudtrail.json")?);
    let lines: Vec<&[u8]> = s3.split_inclusive(|byte| *byte == b'\n').collect();
    let (first, second) = lines.split_at(lines.len() / 2);
    ceph.ask("ann", "PUT", "/logs", &["x-amz-acl:public-read-write"], b"")?;
    for (user, key, body) in [
        ("ann", "/logs/lake/2020-11-23-10-00-00-A", first.concat()),
        ("bob", "/logs/lake/2020-11-23-10-30-00-B", second.concat()),
        ("ann", "/logs/lake/2020-11-23-11-00-00-C", second.concat()),
        ("ann", "/logs/trail/2020/11/23/1.json", trail),
        ("ann", "/logs/pond/2020-11-23-10-00-00-A", b"no log".to_vec()),
    ] {
        ceph.ask(user, "PUT", key, &[], &body)?;
    }
    let data = DataDir::new()?;
    let secret = data.folder().canonicalize()?.join("s3.secret");
    std::fs::write(&secret, "secret-ann")?;
    let source = |name: &str, kind: &str, namespace: &str| {
        format!(
            "[[source]]\nname = \"{name}\"\nkind = \"{kind}\"\nnamespace = \"{namespace}\"\n\
             path = \"s3://logs/{name}\"\ninterval_seconds = 1\n"
        )
    };
    let file = format!(
        "version = 1\n{}{}[[bucket]]\nname = \"logs\"\nendpoint = \"http://{}\"\n\
         access_key_id = \"ann\"\nsecret_access_key_file = \"{}\"\n",
        source("lake", "s3-access-log", "alice"),
        source("trail", "cloudtrail", "bert"),
        ceph.endpoint,
        secret.display()
    );
    std::fs::write(data.folder().join("doorbook.toml"), file)?;
    for namespace in ["alice", "bert"] {
        data.run(&["user", "create", namespace])?;
        let array = ["array", "register", "s3://lake/prod/my temps", "--namespace", namespace];
        data.run(&[&array[..], &["--name", "temps"]].concat())?;
    }
    data.run(&["apply"])?;
    let server = data.serve(&["--config", "doorbook.toml"])?;
    let told = |namespace: &str, more: &[&str]| -> Result<Vec<Value>> {
        let words = ["events", "--namespace", namespace, "--json"];
        let printed = data.run(&[&words[..], more].concat())?;
        let rows = printed.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
        Ok(rows.into_iter().filter(|row| row["action"] != "register").collect())
    };
    for namespace in ["alice", "bert"] {
        let events = until("the logs to be told", || {
            let events = told(namespace, &[])?;
            Ok((events.len() >= 4).then_some(events))
        });
        let events = events.with_context(|| format!("{namespace}: {:?}", told(namespace, &[])))?;
        ensure!(events.len() == 4, "{namespace}: {events:#?}");
    }
    let put_aside = |namespace: &str| -> Result<Vec<Value>> {
        let printed = data.run(&["quarantine", "list", "--namespace", namespace, "--json"])?;
        printed.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
    };
    ensure!(put_aside("bert")?.is_empty());
    let put_aside = put_aside("alice")?;
    ensure!(put_aside.len() == 1, "{put_aside:#?}");
    let id = format!("{}-{}", put_aside[0]["log"], put_aside[0]["seq"]);
    let shown: Value = data.json(&["quarantine", "show", &id, "--namespace", "alice"])?;
    ensure!(shown == put_aside[0], "{shown:#?}");
    let doctor = String::from_utf8(data.outcome(&["doctor"])?.stdout)?;
    ensure!(doctor.contains("1 lines of alice could not be read"), "{doctor}");
    let reason = put_aside[0]["reason"].as_str().context("a reason")?;
    ensure!(reason.starts_with("the file cannot be read: "), "{reason}");
    ensure!(put_aside[0]["file"] == "s3://logs/lake/2020-11-23-10-30-00-B", "{put_aside:#?}");
    until("both sources to go on", || {
        let sources: Vec<Value> = data.json(&["source", "list"])?;
        Ok(sources.iter().all(|source| source["state"] == "following").then_some(()))
    })?;
    server.stop_after("2020-11-23-10-30-00-B cannot be read")
}
