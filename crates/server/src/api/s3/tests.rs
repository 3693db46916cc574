//! Bodies as stores send them, into a router in memory.

use axum::http::request::Builder;
use tower::ServiceExt;

use super::*;
use crate::app;
use crate::buckets::hints::Heard;
use crate::test_support::app_in;

/// As a gateway of Ceph 16.2 sent it.
const CEPH: &str = r#"{"Records":[{"eventVersion":"2.2","eventSource":"ceph:s3","awsRegion":"","eventTime":
    "2026-11-23T23:54:26.302726Z","eventName":"ObjectCreated:Put","userIdentity":{"principalId":"ann"},
    "requestParameters":{"sourceIPAddress":""},"responseElements":{"x-amz-request-id":
    "1c013e68-0630-44ad-9d20-167d717d1ba1.4106.881783606270016512","x-amz-id-2":"100a-default-default"},
    "s3":{"s3SchemaVersion":"1.0","configurationId":"doorbook","bucket":{"name":"lake","ownerIdentity":
    {"principalId":"ann"},"arn":"arn:aws:s3:::lake","id":"1c013e68-0630-44ad-9d20-167d717d1ba1.4108.1"},
    "object":{"key":"prod/my temps/__commits/x.wrt","size":6,"eTag":"b1946ac92492d2347c6235b4d2611184",
    "versionId":"","sequencer":"32D2046B9D4D2612","metadata":[{"key":"x-amz-date","val":"20261123T235425Z"}],
    "tags":[]}},"eventId":"1795478066.304500.b1946ac92492d2347c6235b4d2611184","opaqueData":""}]}"#;

/// As MinIO and Amazon's S3 send it: keys are escaped.
const ESCAPED: &str = r#"{"EventName":"s3:ObjectCreated:Put","Key":"lake/prod/my+temps/__commits/x.wrt",
    "Records":[{"eventSource":"minio:s3","s3":{"bucket":{"name":"lake"},
    "object":{"key":"prod%2Fmy+temps%2F__commits%2Fx.wrt"}}}]}"#;

fn request(authorization: Option<&str>, peer: [u8; 4]) -> Builder {
    let connection =
        Connection { peer: doorbook_event::Peer::ip(peer.into(), None), is_tls: false };
    let request = Request::builder().method("POST").uri(PATH).extension(connection);
    match authorization {
        Some(value) => request.header("authorization", value),
        None => request,
    }
}

/// Goal: who knows the secret is heard, in whatever form a store sends its word; who does not, who sends it in the
/// clear, who speaks of other buckets or sends anything else is told so, and nothing is heard of him. Method: a body of
/// each, and what the one who listens heard.
#[tokio::test]
async fn a_store_is_heard_that_knows_the_secret() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let app = &app_in(dir.path(), app::Settings::default());
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), "s3cr3t\n").expect("written");
    app.buckets().set(vec![Settings {
        pattern: "lake".to_owned(),
        endpoint: None,
        region: None,
        key: None,
        path_style: false,
        ca_file: None,
        notification_secret_file: Some(file.path().to_owned()),
    }]);
    let ear = app.buckets().hints().listen("lake", "prod");
    let sns = serde_json::json!({"Type": "Notification", "Message": ESCAPED}).to_string();
    let test = r#"{"Service":"Amazon S3","Event":"s3:TestEvent","Bucket":"lake"}"#;
    let confirm =
        r#"{"Type":"SubscriptionConfirmation","SubscribeURL":"https://sns.example.com/"}"#;
    let large = " ".repeat(BODY_BYTES_MAX + 1);
    let other = CEPH.replace("\"lake\"", "\"pond\"");
    let here = [127, 0, 0, 1];
    // Any name and the secret.
    let (basic, bearer) = (Some("Basic YW5uOnMzY3IzdA=="), Some("Bearer s3cr3t"));
    let wrong = Some("Bearer s3cr3");
    for (authorization, peer, body, status, is_heard) in [
        (basic, here, CEPH, 204, true),
        (bearer, here, ESCAPED, 204, true),
        (bearer, here, &sns, 204, true),
        (bearer, here, test, 204, false),
        (bearer, here, confirm, 204, false),
        (None, here, CEPH, 401, false),
        (wrong, here, CEPH, 401, false),
        (bearer, [10, 0, 0, 1], CEPH, 403, false),
        (bearer, here, &other, 403, false),
        (bearer, here, "[1]", 400, false),
        (bearer, here, r#"{"Records": 1}"#, 400, false),
        (bearer, here, r#"{"Message": "{"}"#, 400, false),
        (bearer, here, &large, 413, false),
    ] {
        let request =
            request(authorization, peer).body(Body::from(body.to_owned())).expect("is one");
        let response = router(app).oneshot(request).await.expect("answers");
        assert_eq!(response.status(), status, "{body}");
        let Heard { keys, is_much } = ear.take();
        assert_eq!(keys.contains("prod/my temps/__commits/x.wrt"), is_heard, "{body}: {keys:?}");
        assert!(!is_much && (is_heard || keys.is_empty()), "{keys:?}");
    }
    let get = Request::builder().uri(PATH).body(Body::empty()).expect("is one");
    assert_eq!(router(app).oneshot(get).await.expect("answers").status(), 405);
}
