use super::*;
use crate::registry::RegistryError;

const AT: Timestamp = Timestamp::from_seconds(0);

fn uuid(n: u8) -> Uuid {
    Uuid::random([n; 16])
}

fn user(name: &str) -> ArraysChange {
    let password = PasswordHash { salt: [0; 16], iterations: 1, hash: [0; 32] };
    ArraysChange::UserCreated(User { name: name.into(), id: uuid(0), password, created: AT })
}

fn array(n: u8, namespace: &str, name: &str, uri: &str) -> ArraysChange {
    ArraysChange::ArrayRegistered(Array {
        id: uuid(n),
        namespace: namespace.into(),
        name: name.into(),
        uri: uri.into(),
        created: AT,
        created_by: namespace.into(),
        description: Text::default(),
        tags: Vec::new(),
        shares: BTreeMap::new(),
    })
}

fn share(n: u8, with: &str, rights: &[Right]) -> ArraysChange {
    let rights = rights.iter().copied().collect();
    ArraysChange::ArrayShared { id: uuid(n), with: with.into(), rights }
}

/// alice with `a` and `b`, bob, and the lab of bob's.
fn sample() -> Arrays {
    let mut arrays = Arrays::default();
    let lab = Organization {
        name: "lab".into(),
        id: uuid(9),
        members: BTreeSet::from(["bob".into()]),
        created: AT,
    };
    for change in [
        user("alice"),
        user("bob"),
        user("carol"),
        ArraysChange::OrganizationCreated(lab),
        array(1, "alice", "a", "s3://bucket/a"),
        array(2, "alice", "dir/b", "file:///data/b"),
    ] {
        arrays.check(&change).expect("allowed");
        arrays.apply(change);
    }
    arrays
}

fn applied(arrays: &Arrays, changes: &[ArraysChange]) -> Arrays {
    let mut arrays = arrays.clone();
    for change in changes {
        arrays.check(change).expect("allowed");
        arrays.apply(change.clone());
    }
    arrays
}

/// Goal: an array is found by each of its names, and only in its namespace.
#[test]
fn an_array_goes_by_name_id_and_address() {
    let arrays = sample();
    let id = uuid(1).to_string();
    for text in ["a", &id, &id.to_uppercase(), "s3://bucket/a"] {
        assert_eq!(arrays.find("alice", text).map(|array| array.id), Some(uuid(1)), "{text}");
        assert_eq!(arrays.find("bob", text), None, "{text}");
    }
    for text in ["A", "b", "s3://bucket/a/", "s3://bucket/A", ""] {
        assert_eq!(arrays.find("alice", text), None, "{text}");
    }
}

/// Goal: names that would lead somewhere else, and those that are taken, are refused.
#[test]
fn bad_and_taken_names_are_refused() {
    let arrays = sample();
    let check = |change: &ArraysChange| arrays.check(change);
    for name in ["", "a b", "a/b", "public", "browser", "..", "a\0", &"x".repeat(64)] {
        let refused = check(&user(name));
        assert!(matches!(refused, Err(RegistryError::Invalid(_))), "{name:?}");
    }
    for name in ["Alice", "é", "a.b-c_1", &"x".repeat(63)] {
        assert_eq!(check(&user(name)), Ok(()), "{name}");
    }
    for name in ["alice", "lab"] {
        assert!(matches!(check(&user(name)), Err(RegistryError::Exists(_))), "{name}");
    }
    let id = uuid(1).to_string();
    for name in ["", ".", "..", "x/../y", "/x", "x/", "x\0", "x\n", &id, "s3://b/x"] {
        let refused = check(&array(3, "alice", name, "s3://bucket/c"));
        assert!(matches!(refused, Err(RegistryError::Invalid(_))), "{name:?}");
    }
    for uri in [
        "",
        "x",
        "/x",
        "file://",
        "file:///",
        "file:///a/../b",
        "s3://b/\0",
        "S3://b/a",
        "tiledb://a/b",
    ] {
        let refused = check(&array(3, "alice", "c", uri));
        assert!(matches!(refused, Err(RegistryError::Invalid(_))), "{uri:?}");
    }
    for (namespace, name, uri) in [("alice", "a", "s3://bucket/c"), ("alice", "c", "s3://bucket/a")]
    {
        let refused = check(&array(3, namespace, name, uri));
        assert!(matches!(refused, Err(RegistryError::Exists(_))), "{name} {uri}");
    }
    let refused = check(&array(3, "nobody", "a", "s3://bucket/a"));
    assert!(matches!(refused, Err(RegistryError::Missing(_))));
    assert_eq!(check(&array(3, "lab", "a", "s3://bucket/a")), Ok(()));
}

/// Goal: who is not named may nothing; a share gives what it says, and reading brings the log,
/// but not to everybody. Method: the whole table of some users and shares.
#[test]
fn a_share_gives_what_it_says() {
    let arrays = sample();
    let rights = |arrays: &Arrays, user: &str| {
        let array = arrays.find("alice", "a").expect("there");
        arrays.rights(user, array).into_iter().map(Right::word).collect::<Vec<_>>().join(" ")
    };
    let all = "read write edit read_logs read_info read_schema";
    assert_eq!(rights(&arrays, "alice"), all);
    assert_eq!(rights(&arrays, "bob"), "");
    let shared = applied(&arrays, &[share(1, "bob", &[Right::Read])]);
    assert_eq!(rights(&shared, "bob"), "read read_logs read_info read_schema");
    assert_eq!(rights(&shared, "carol"), "");
    let shared = applied(&arrays, &[share(1, "lab", &[Right::Write])]);
    assert_eq!(rights(&shared, "bob"), "write read_info read_schema");
    let shared = applied(&arrays, &[share(1, PUBLIC, &[Right::Read])]);
    assert_eq!(rights(&shared, "carol"), "read read_info read_schema");
    let shared = applied(&arrays, &[share(1, "bob", &[Right::Read]), share(1, "bob", &[])]);
    assert_eq!(rights(&shared, "bob"), "");
    assert!(matches!(arrays.check(&share(1, "nobody", &[])), Err(RegistryError::Missing(_))));
    assert!(matches!(arrays.check(&share(1, "alice", &[])), Err(RegistryError::Invalid(_))));
    assert!(matches!(arrays.check(&share(7, "bob", &[])), Err(RegistryError::Missing(_))));
}

/// Goal: what is done to an array is part of its history under its id, whatever it is called.
#[test]
fn changes_of_an_array_are_acts() {
    let arrays = sample();
    let act = |change: &ArraysChange| {
        let act = arrays.act(change)?;
        assert_eq!(act.scope, Scope::Namespace("alice".into()));
        assert_eq!(&**act.target.names().1, uuid(1).to_string());
        Some((act.action, act.attributes.len()))
    };
    assert_eq!(act(&share(1, "bob", &[Right::Read])), Some((Action::Share, 2)));
    let removed = |deleted| ArraysChange::ArrayRemoved { id: uuid(1), deleted };
    assert_eq!(act(&removed(true)), Some((Action::Delete, 2)));
    assert_eq!(act(&removed(false)), Some((Action::Deregister, 2)));
    let renamed = ArraysChange::ArrayUpdated {
        id: uuid(1),
        name: "new".into(),
        description: Text::default(),
        tags: Vec::new(),
    };
    assert_eq!(act(&renamed), Some((Action::Update, 2)));
    assert_eq!(act(&user("dave")), None);
    let renamed = applied(&arrays, &[renamed]);
    assert_eq!(renamed.find("alice", "new").map(|array| array.id), Some(uuid(1)));
    assert_eq!(renamed.find("alice", "a"), None);
    assert_eq!(applied(&renamed, &[removed(false)]).find("alice", "new"), None);
}

#[test]
fn what_lies_below_a_place() {
    let check = |uri: &str, place: &str, expected: bool| {
        assert_eq!(is_below(uri, place), expected, "{uri} below {place}");
    };
    check("s3://lake/a/b", "s3://lake/a", true);
    check("s3://lake/a", "s3://lake/a", true);
    check("s3://lake/ab", "s3://lake/a", false);
    check("s3://lake", "s3://lake/a", false);
    check("s3://lake/a", "s3://", true);
    check("file:///srv/a", "s3://", false);
}

#[test]
fn survives_its_disk_form() {
    let arrays = sample();
    let token = Token { sha256: [3; 32], user: "bob".into(), created: AT, expires: Some(AT) };
    let changes = [ArraysChange::TokenCreated(token), share(1, "bob", &[Right::Read])];
    let arrays = applied(&arrays, &changes);
    let bytes = minicbor::to_vec(&arrays).expect("encodes");
    assert_eq!(minicbor::decode::<Arrays>(&bytes).expect("decodes"), arrays);
    for change in changes {
        let bytes = minicbor::to_vec(&change).expect("encodes");
        assert_eq!(minicbor::decode::<ArraysChange>(&bytes).expect("decodes"), change);
    }
}
