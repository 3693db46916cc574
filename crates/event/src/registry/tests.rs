use super::*;

use crate::arrays::{ArraysChange, Organization, PasswordHash, User, Uuid};
use crate::source::{Rule, SourceKind, Subject};

fn sample() -> (Registry, ProjectId) {
    let id = ProjectId::new([1; 12]);
    let mut registry = Registry::default();
    let created = Timestamp::from_seconds(0);
    let host = |name: &str, cluster: &str, aliases: &[&str]| {
        RegistryChange::HostAdded(Host {
            project: id,
            cluster: cluster.into(),
            name: HostName::parse(name).expect("valid").0,
            aliases: aliases.iter().map(|alias| Text::from(*alias)).collect(),
        })
    };
    for change in [
        RegistryChange::ProjectCreated(Project { id, name: "shop".into(), created }),
        RegistryChange::ClusterCreated(Cluster { project: id, name: "orders".into(), created }),
        host("db-1:27017", "orders", &["orders-shard-00-00.example"]),
        host("db-1:27018", "orders", &[]),
        host("db-2", "orders", &[]),
    ] {
        registry.check(&change).expect("allowed");
        registry.apply(&change);
    }
    (registry, id)
}

#[test]
fn a_text_means_every_host_it_names() {
    let (registry, id) = sample();
    let check = |text: &str, expected: &[&str]| {
        let found: Vec<_> =
            registry.find_hosts(id, text).iter().map(|host| host.name.to_string()).collect();
        assert_eq!(found, expected, "{text}");
    };
    check("db-1", &["db-1:27017", "db-1:27018"]);
    check("DB-1:27018", &["db-1:27018"]);
    check("orders-shard-00-00.example", &["db-1:27017"]);
    check("orders-shard-00-00.example:27017", &["db-1:27017"]);
    check("orders-shard-00-00.example:27018", &[]);
    check("db-3", &[]);
    check("not a host", &[]);
}

/// `/processes` shows aliases without port, so they must be found like that.
#[test]
fn an_alias_with_a_port_is_found_without_it() {
    let (mut registry, id) = sample();
    for (host, alias) in [
        ("db-1:27018", "front:31000"),
        ("db-2", "front:31001"),
        ("db-2", "[2001:db8:0::5]:31002"),
        ("db-2", "fe80::1"),
    ] {
        let host = HostName::parse(host).expect("valid").0;
        let change = RegistryChange::HostAliasAdded { project: id, host, alias: alias.into() };
        registry.check(&change).expect("allowed");
        registry.apply(&change);
    }
    let check = |text: &str, expected: &[&str]| {
        let found: Vec<_> =
            registry.find_hosts(id, text).iter().map(|host| host.name.to_string()).collect();
        assert_eq!(found, expected, "{text}");
    };
    check("front:31000", &["db-1:27018"]);
    check("Front:31001", &["db-2:27017"]);
    check("front", &["db-1:27018", "db-2:27017"]);
    check("front:27017", &[]);
    check("2001:db8::5", &["db-2:27017"]);
    check("[2001:DB8::0:5]:31002", &["db-2:27017"]);
    check("[2001:db8::5]:27017", &[]);
    check("[fe80::1]:27017", &["db-2:27017"]);
}

/// Goal: an administrator is a user, is made and unmade once, and stays one over a restart, as another password does;
/// without any the registry is encoded as before there were some.
#[test]
fn administrators_and_passwords_change() {
    let (mut registry, _) = sample();
    let encoded = |registry: &Registry| minicbor::to_vec(registry).expect("encodes");
    let before = encoded(&registry);
    let password = |n: u8| PasswordHash { salt: [n; 16], iterations: 1, hash: [n; 32] };
    let set = |is_one| RegistryChange::AdministratorSet { user: "alice".into(), is_one };
    let change_password = RegistryChange::Arrays(ArraysChange::PasswordChanged {
        user: "alice".into(),
        password: password(2),
    });
    for change in [set(true), set(false), change_password.clone()] {
        assert!(matches!(registry.check(&change), Err(RegistryError::Missing(_))), "{change:?}");
    }
    let user = User {
        name: "alice".into(),
        id: Uuid::random([1; 16]),
        password: password(1),
        created: Timestamp::from_seconds(0),
    };
    registry.apply(&RegistryChange::Arrays(ArraysChange::UserCreated(user)));
    assert_eq!(encoded(&sample().0), before);
    registry.check(&set(true)).expect("allowed");
    registry.apply(&set(true));
    assert!(matches!(registry.check(&set(true)), Err(RegistryError::Exists(_))));
    registry.check(&change_password).expect("allowed");
    registry.apply(&change_password);
    let again: Registry = minicbor::decode(&encoded(&registry)).expect("decodes");
    assert!(again == registry && again.is_administrator("alice"));
    assert_eq!(again.arrays().user("alice").expect("is there").password, password(2));
    for change in [set(true), set(false), change_password] {
        let bytes = minicbor::to_vec(&change).expect("encodes");
        assert_eq!(minicbor::decode::<RegistryChange>(&bytes).expect("decodes"), change);
        assert!(!format!("{change:?} {:?}", change.subject()).contains("[2, 2"), "no secret");
    }
    registry.apply(&set(false));
    assert!(!registry.is_administrator("alice"));
}

/// Goal: a user has one role in a project, the latest, and only where both are there.
#[test]
fn a_role_is_granted_changed_and_revoked() {
    use crate::arrays::{PasswordHash, User, Uuid};
    let (mut registry, project) = sample();
    let grant = |user: &str, project, role| RegistryChange::RoleGranted {
        user: user.into(),
        project,
        role,
    };
    let first = grant("alice", project, Role::ReadOnly);
    assert!(matches!(registry.check(&first), Err(RegistryError::Missing(_))));
    registry.apply(&RegistryChange::Arrays(ArraysChange::UserCreated(User {
        name: "alice".into(),
        id: Uuid::random([1; 16]),
        password: PasswordHash { salt: [0; 16], iterations: 1, hash: [0; 32] },
        created: Timestamp::from_seconds(0),
    })));
    let other = ProjectId::new([9; 12]);
    for refused in [grant("alice", other, Role::Owner), grant("alice", project, Role::Shipper)] {
        registry.check(&refused).expect_err("refused");
    }
    for role in [Role::ReadOnly, Role::Owner] {
        registry.check(&grant("alice", project, role)).expect("allowed");
        registry.apply(&grant("alice", project, role));
        assert_eq!(registry.role_of_user("alice", project), Some(role));
    }
    assert_eq!(registry.role_of_user("alice", other), None);
    assert_eq!(registry.role_of_user("bob", project), None);
    let bytes = minicbor::to_vec(&registry).expect("encodes");
    assert_eq!(minicbor::decode::<Registry>(&bytes).expect("decodes"), registry);
    let revoke = RegistryChange::RoleRevoked { user: "alice".into(), project };
    registry.check(&revoke).expect("allowed");
    registry.apply(&revoke);
    assert_eq!(registry.roles_of_user("alice").count(), 0);
    assert!(matches!(registry.check(&revoke), Err(RegistryError::Missing(_))));
}

#[test]
fn a_source_has_a_file_or_rules() {
    let (registry, project) = sample();
    let source = |path: &str, agent: Option<&str>, labels: &[&str]| Source {
        name: "orders".into(),
        kind: SourceKind::MongodLog,
        subject: Subject::Host {
            project,
            cluster: "orders".into(),
            host: HostName::parse("db-2").expect("valid").0,
        },
        path: path.into(),
        zone: "UTC".into(),
        paused: false,
        agent: agent.map(Text::from),
        rules: labels
            .iter()
            .map(|label| Rule { label: (*label).into(), pattern: "db-2".into() })
            .collect(),
        interval_seconds: None,
    };
    let check = |source: Source| registry.check(&RegistryChange::SourceSet(source));
    for allowed in [
        source("/var/log/mongod.log", None, &[]),
        source("/var/log/mongod.log", Some("edge-1"), &[]),
        source("", None, &["host.name", "syslog.tag"]),
    ] {
        check(allowed).expect("allowed");
    }
    for refused in [
        source("", None, &[]),
        source("", Some("edge-1"), &[]),
        source("/var/log/mongod.log", None, &["host.name"]),
        source("", Some("edge-1"), &["host.name"]),
        source("", None, &[""]),
        source("", None, &["host.name"; 17]),
        source("/var/log/mongod.log", Some("Edge 1"), &[]),
    ] {
        check(refused.clone()).expect_err(&format!("{refused:?}"));
    }
}

#[test]
fn a_source_of_arrays_has_a_namespace_and_a_place() {
    let (mut registry, project) = sample();
    let organization = Organization {
        name: "lab".into(),
        id: Uuid::random([1; 16]),
        members: std::collections::BTreeSet::new(),
        created: Timestamp::from_seconds(0),
    };
    registry.apply(&RegistryChange::Arrays(ArraysChange::OrganizationCreated(organization)));
    let source = |namespace: &str, path: &str| Source {
        name: "lake".into(),
        kind: SourceKind::TiledbStorage,
        subject: Subject::Arrays { namespace: namespace.into(), below: path.into() },
        path: path.into(),
        zone: "UTC".into(),
        paused: false,
        agent: None,
        rules: Vec::new(),
        interval_seconds: None,
    };
    let check = |source: &Source| registry.check(&RegistryChange::SourceSet(source.clone()));
    let good = source("lab", "s3://lake/a");
    check(&good).expect("allowed");
    check(&source("lab", "file:///srv/arrays")).expect("allowed");
    let host = HostName::parse("db-2").expect("valid").0;
    let of_host = Subject::Host { project, cluster: "orders".into(), host };
    for refused in [
        source("nobody", "s3://lake/a"),
        source("lab", "/srv/arrays"),
        source("lab", "s3://lake/../b"),
        Source { path: "s3://other".into(), ..good.clone() },
        Source { agent: Some("edge-1".into()), ..good.clone() },
        Source { interval_seconds: Some(0), ..good.clone() },
        Source { kind: SourceKind::MongodLog, ..good.clone() },
        Source { subject: of_host, ..good.clone() },
    ] {
        check(&refused).expect_err(&format!("{refused:?}"));
    }
    let of_logs = Source { kind: SourceKind::CephOpsLog, path: "/var/log/ops.log".into(), ..good };
    check(&of_logs).expect("allowed");
}

/// Goal: of two who describe a review at once one is refused, and what a round is reckoned from never
/// changes.
#[test]
fn a_review_is_described_anew_but_never_another_one() {
    use crate::review::Due;
    use crate::{LogId, Scope};
    let (mut registry, project) = sample();
    let review = Review {
        name: "failed-logins".into(),
        scope: Scope::Project(project),
        filter: "result:failed".into(),
        zone: "UTC".into(),
        due: Due { weekday: Some(0), minute: 600 },
        created: Timestamp::from_seconds(5),
        from: Timestamp::from_seconds(5),
        begins: vec![(LogId(1), 7)],
        version: 1,
    };
    let check =
        |registry: &Registry, change: Review| registry.check(&RegistryChange::ReviewSet(change));
    let other = Scope::Project(ProjectId::new([9; 12]));
    for refused in [
        Review { name: "A".into(), ..review.clone() },
        Review { name: "../x".into(), ..review.clone() },
        Review { scope: Scope::System, ..review.clone() },
        Review { scope: other, ..review.clone() },
        Review { due: Due { weekday: Some(7), minute: 0 }, ..review.clone() },
        Review { due: Due { weekday: None, minute: 1440 }, ..review.clone() },
        Review { version: 2, ..review.clone() },
    ] {
        check(&registry, refused.clone()).expect_err(&format!("{refused:?}"));
    }
    check(&registry, review.clone()).expect("allowed");
    registry.apply(&RegistryChange::ReviewSet(review.clone()));
    let next = Review { version: 2, filter: "".into(), ..review.clone() };
    for refused in [
        review.clone(),
        Review { version: 3, ..next.clone() },
        Review { begins: Vec::new(), ..next.clone() },
        Review { from: Timestamp::MIN, ..next.clone() },
    ] {
        check(&registry, refused.clone()).expect_err(&format!("{refused:?}"));
    }
    check(&registry, next.clone()).expect("allowed");
    registry.apply(&RegistryChange::ReviewSet(next.clone()));
    assert_eq!(registry.review("failed-logins"), Some(&next));
    let bytes = minicbor::to_vec(&registry).expect("encodes");
    assert_eq!(minicbor::decode::<Registry>(&bytes).expect("decodes"), registry);
    registry.apply(&RegistryChange::ReviewRemoved { name: "failed-logins".into() });
    assert_eq!(registry.reviews().count(), 0);
}

#[test]
fn a_name_is_given_once() {
    let (registry, id) = sample();
    let created = Timestamp::from_seconds(0);
    let project =
        |id, name: &str| RegistryChange::ProjectCreated(Project { id, name: name.into(), created });
    let alias = |alias: &str| RegistryChange::HostAliasAdded {
        project: id,
        host: HostName::parse("db-2").expect("valid").0,
        alias: alias.into(),
    };
    let other = ProjectId::new([2; 12]);
    assert!(matches!(registry.check(&project(id, "new")), Err(RegistryError::Exists(_))));
    assert!(matches!(registry.check(&project(other, "shop")), Err(RegistryError::Exists(_))));
    assert!(matches!(registry.check(&project(other, "")), Err(RegistryError::Invalid(_))));
    assert!(matches!(registry.check(&alias("db-1")), Err(RegistryError::Exists(_))));
    assert!(matches!(registry.check(&alias("a b")), Err(RegistryError::Invalid(_))));
    assert_eq!(registry.check(&alias("second")), Ok(()));
}

#[test]
fn roles_go_by_both_of_their_names() {
    for role in Role::ALL {
        assert_eq!(Role::parse(role.title()), Some(role));
        assert_eq!(Role::parse(role.api_name()), Some(role));
    }
    assert_eq!(Role::parse("project-read-only"), Some(Role::ReadOnly));
    assert_eq!(Role::parse("root"), None);
}

#[test]
fn survives_its_disk_form() {
    let (registry, _) = sample();
    let bytes = minicbor::to_vec(&registry).expect("encodes");
    assert_eq!(minicbor::decode::<Registry>(&bytes).expect("decodes"), registry);
}
