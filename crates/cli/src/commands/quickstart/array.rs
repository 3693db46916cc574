//! The second half of what quickstart shows: an array, and who did what with it.

use anyhow::Context;
use doorbook_event::arrays::Array;
use doorbook_event::record::Actor;
use doorbook_event::{Access, Action, Principal, Scope, Target, Text};
use doorbook_server::admin::arrays::ArraysRequest;
use doorbook_server::admin::{Admin, Reply, Request};
use doorbook_store::filter::Targets;
use doorbook_store::{Filter, Ingest, IngestLine};

use super::tolerate_existing;
use crate::commands::out_of_turn;

pub const USER: &str = "demo";
pub const ARRAY: &str = "temperatures";

/// What there is to show of it.
pub struct Sampled {
    /// A token of the user's.
    pub token: String,
    /// How many activities the API will show.
    pub activities: u64,
}

/// A user with an array that was written and read in the last hour; made where there is none.
pub fn sample(admin: &Admin, by: &Actor) -> anyhow::Result<Sampled> {
    let execute = |request| admin.execute(by, Request::Arrays(request));
    tolerate_existing(execute(ArraysRequest::UserCreate { name: USER.into(), password: None }))?;
    tolerate_existing(execute(ArraysRequest::ArrayRegister {
        namespace: Some(USER.into()),
        // In no one's bucket: only its name is kept.
        uri: format!("s3://quickstart/{ARRAY}"),
        name: None,
        recursive: false,
    }))?;
    let token = match execute(ArraysRequest::TokenCreate { user: USER.into() })? {
        Reply::NewToken(token) => token.token.0,
        other => return Err(out_of_turn(&other)),
    };
    let catalog = admin.store.catalog();
    let array = catalog.registry.arrays().find(USER, ARRAY).context("the array is gone")?;
    report(admin, array)?;
    Ok(Sampled { token, activities: activities(admin, array)? })
}

/// What a program would report: it wrote, and read twice.
fn report(admin: &Admin, array: &Array) -> anyhow::Result<()> {
    let now = admin.clock.now();
    let line = |seconds: i64, action, bytes: (&str, &str), range: &str| {
        let principal = Principal::User { name: USER.into(), database: Text::default() };
        let by = Actor { principal, peer: doorbook_event::Peer::Unknown };
        let mut access = Access::own(&by, action, target(array), now.plus_seconds(-seconds));
        access.task_id = Some("7b1f0d5e-4a53-4f0e-9d5c-2a4b6c8d0e1f".into());
        access.attributes.insert(bytes.0.into(), bytes.1.into());
        access.attributes.insert("query_ranges".into(), range.into());
        IngestLine::Event(Box::new(access))
    };
    let year = r#"{"day":[{"start":0,"end":365}]}"#;
    let week = r#"{"day":[{"start":180,"end":186}]}"#;
    let lines = vec![
        line(3000, Action::QueryWrite, ("bytes_received", "5856"), year),
        line(2400, Action::QueryRead, ("bytes_sent", "112"), week),
        line(600, Action::QueryRead, ("bytes_sent", "5856"), year),
    ];
    let scope = Scope::Namespace(USER.into());
    admin.store.ingest(Ingest { scope, source: "quickstart".into(), key: None, lines })?;
    Ok(())
}

/// How many rows the API will show: those of the last seven days.
fn activities(admin: &Admin, array: &Array) -> anyhow::Result<u64> {
    let (group, member) = (array.namespace.clone(), array.id.to_string().into());
    let filter = Filter {
        targets: Targets::Members(vec![(group, member)]),
        from: admin.clock.now().plus_seconds(-7 * 86_400),
        ..Filter::all(Scope::Namespace(USER.into()), 0)
    };
    Ok(admin.store.select(&filter)?.total)
}

fn target(array: &Array) -> Target {
    doorbook_server::coverage::target_of_array(array)
}
