//! `onetag hook`: deliveries as registries send them, from a file or a pipe.

use std::path::PathBuf;

use crate::support::{Cli, Ran, onetag};

fn sample(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/webhooks").join(name)
}

fn hook(format: &str) -> Cli {
    onetag(["hook", "--format", format])
}

/// The words of both outputs, for a picture.
fn picture(ran: &Ran) -> String {
    format!("exit {}\n{}{}", ran.code, ran.stdout, ran.stderr)
}

#[tokio::test]
async fn each_pushed_tag_is_a_line_of_json_with_its_keys_in_order() {
    let ran = hook("distribution").arg(sample("distribution-batch.json")).run().await.expect(0);
    insta::assert_snapshot!(picture(&ran), @r#"
    exit 0
    {"registry":"registry.example.com","repository":"acme/ubuntu","tag":"armhf-xenial","digest":"sha256:5bb5b2b35f761632ba65255358877abb85876261664f013b6c3a489844f2429c","media_type":"application/vnd.oci.image.manifest.v1+json","event_id":"01959f6a-3c57-7c1e-8b52-000000000004"}
    {"registry":"registry.example.com","repository":"acme/ubuntu","tag":"xenial","digest":"sha256:1469335fe730ce6a03f3c2709f3606bace5f956c972ff958ead6814331f5f7a4","media_type":"application/vnd.oci.image.index.v1+json","event_id":"01959f6a-3c57-7c1e-8b52-000000000006"}
    {"registry":"registry.example.com","repository":"acme/ubuntu","tag":"amd64-xenial","digest":"sha256:8f07628bf78fa88a5f74a59405a4462ddd784d308a1028667b98d1a4ed0da984","media_type":"application/vnd.oci.image.index.v1+json","event_id":"01959f6a-3c57-7c1e-8b52-000000000007"}
    "#);
}

#[tokio::test]
async fn what_a_sender_does_not_tell_is_null() {
    let ran = hook("quay").arg(sample("quay.json")).run().await.expect(0);
    insta::assert_snapshot!(picture(&ran), @r#"
    exit 0
    {"registry":"registry.example.com","repository":"acme/ubuntu","tag":"armhf-xenial","digest":null,"media_type":null,"event_id":null}
    "#);
}

#[tokio::test]
async fn without_a_file_the_delivery_comes_from_standard_input() {
    let body = std::fs::read(sample("harbor.json")).expect("a sample");
    let piped = hook("harbor").stdin(body.clone()).run().await.expect(0);
    let dashed = hook("harbor").arg("-").stdin(body).run().await.expect(0);
    let filed = hook("harbor").arg(sample("harbor.json")).run().await.expect(0);
    assert_eq!(piped.json()["tag"], "armhf-xenial");
    assert_eq!((&piped.stdout, &dashed.stdout), (&filed.stdout, &filed.stdout));
}

#[tokio::test]
async fn a_delivery_without_a_push_prints_nothing_and_is_fine() {
    for (format, file) in [("acr", "acr-ping.json"), ("harbor", "harbor-untagged.json")] {
        let ran = hook(format).arg(sample(file)).run().await;
        assert_eq!(picture(&ran), "exit 0\n", "{file}");
    }
}

#[tokio::test]
async fn verbose_tells_what_was_ignored_and_why() {
    let ran = hook("distribution").arg("-v").arg(sample("distribution-batch.json")).run().await.expect(0);
    insta::assert_snapshot!(ran.stderr, @r"
     INFO Ignored 1 event: a blob
     INFO Ignored 1 event: action `delete`
     INFO Ignored 1 event: action `mount`
     INFO Ignored 1 event: action `pull`
     INFO Ignored 1 event: no tag: a manifest pushed by its digest
    ");
    let ran = hook("distribution").arg("-v").stdin(r#"{"events":[]}"#).run().await.expect(0);
    insta::assert_snapshot!(picture(&ran), @r"
    exit 0
     INFO The delivery has no events
    ");
}

#[tokio::test]
async fn what_stands_in_headers_is_given_as_headers() {
    let ran = hook("zot")
        .arg(sample("zot-cloudevents-binary.json"))
        .arg("--header=Ce-Type: zotregistry.image.updated")
        .arg("--header=ce-id:c2d71caa")
        .run()
        .await
        .expect(0);
    assert_eq!((&ran.json()["tag"], &ran.json()["event_id"]), (&"armhf-xenial".into(), &"c2d71caa".into()));

    let forgejo = hook("forgejo").arg(sample("gitea-package.json")).arg("--header=X-Forgejo-Event: package");
    assert_eq!(forgejo.run().await.expect(0).json()["repository"], "acme/ubuntu");
}

#[tokio::test]
async fn a_form_is_read_when_its_header_says_so_and_asked_for_otherwise() {
    let form = "payload=%7B%22action%22%3A%22created%22%2C%22package%22%3A%7B%22type%22%3A%22container%22%2C\
                %22owner%22%3A%7B%22login%22%3A%22acme%22%7D%2C%22name%22%3A%22ubuntu%22%2C%22version%22%3A%22armhf-xenial%22%7D%7D";
    let gitea = || hook("gitea").stdin(form).arg("--header=X-Gitea-Event: package");
    let ran = gitea().arg("--header=Content-Type: application/x-www-form-urlencoded").run().await.expect(0);
    assert_eq!(ran.json()["tag"], "armhf-xenial");
    insta::assert_snapshot!(picture(&gitea().run().await), @r"
    exit 2
    error: the delivery cannot be read as one of `gitea`: the body is not JSON: expected value at line 1 column 1
    hint: say that it is a form: `--header 'Content-Type: application/x-www-form-urlencoded'`
    ");
}

#[tokio::test]
async fn a_delivery_of_another_sender_is_refused_and_recognised() {
    let ran = hook("harbor").arg(sample("quay.json")).run().await;
    insta::assert_snapshot!(picture(&ran), @r"
    exit 2
    error: the delivery cannot be read as one of `harbor`: found an object with the keys `repository`, `namespace`, `name`, `docker_url`, `homepage` and `updated_tags`, expected an object with `type` and `event_data`, or a CloudEvent of a type that begins with `harbor.`
    hint: it looks like a delivery of `quay`: try `--format quay`
    ");
}

#[tokio::test]
async fn a_missing_header_is_asked_for() {
    let ran = hook("ghcr").arg(sample("ghcr-package.json")).run().await;
    insta::assert_snapshot!(picture(&ran), @r"
    exit 2
    error: the delivery cannot be read as one of `ghcr`: the header `X-GitHub-Event` is missing, which tells what the delivery is about
    hint: give the headers of the delivery, too, for example `--header 'X-GitHub-Event: package'`
    ");
}

#[tokio::test]
async fn what_is_not_readable_ends_with_2_and_says_why() {
    for (body, why) in [
        ("", "not JSON"),
        ("<html>502 Bad Gateway</html>", "not JSON"),
        ("[]", "found an array, expected an object with an array `events`"),
        (r#"{"action":"push"}"#, "found an object with the key `action`"),
    ] {
        let ran = hook("distribution").stdin(body).run().await.expect(2);
        assert!(ran.stdout.is_empty() && ran.stderr.contains(why), "{body}\n{}", ran.stderr);
    }
    let deep = "[".repeat(100_000);
    let ran = hook("distribution").stdin(deep).run().await.expect(2);
    assert!(ran.stderr.contains("nested more than 64 levels deep"), "{}", ran.stderr);
}

#[tokio::test]
async fn a_body_is_read_up_to_the_limit_of_its_format() {
    let padded = |bytes: usize| {
        let mut body = br#"{"events":[]}"#.to_vec();
        body.resize(bytes, b' ');
        body
    };
    let mib = 1024 * 1024;
    hook("distribution").stdin(padded(mib)).run().await.expect(0);
    let ran = hook("distribution").stdin(padded(mib + 1)).run().await.expect(2);
    assert!(ran.stderr.contains("more than 1048576 bytes"), "{}", ran.stderr);
}

#[tokio::test]
async fn arguments_that_make_no_sense_are_usage_errors() {
    let ran = hook("habor").run().await.expect(2);
    assert!(ran.stderr.contains("a similar value exists: 'harbor'"), "{}", ran.stderr);
    onetag(["hook"]).run().await.expect(2);
    for header in ["X-GitHub-Event", "bad name: x", "x: a\nb", ": x"] {
        hook("ghcr").arg("--header").arg(header).run().await.expect(2);
    }
    let ran = hook("ghcr").arg("/nonexistent/delivery.json").run().await.expect(2);
    assert!(ran.stderr.contains("/nonexistent/delivery.json cannot be read"), "{}", ran.stderr);
}

#[tokio::test]
async fn what_a_sender_wrote_cannot_move_the_terminal() {
    let body = r#"{"events":[{"id":"\u001b[2J","action":"push","target":{"repository":"a","tag":"b","mediaType":"\u001b]0;x\u0007\u202e"}},
        {"action":"\u001b[31mpull"}]}"#;
    let ran = hook("distribution").arg("-v").stdin(body).run().await.expect(0);
    assert!(!ran.stdout.contains(['\u{1b}', '\u{202e}']) && !ran.stderr.contains('\u{1b}'), "{}", picture(&ran));
    assert_eq!(ran.json()["event_id"], serde_json::Value::Null);
}
